"""One measuring process at a time."""

from __future__ import annotations

import fcntl
import subprocess
import sys

import pytest

from edgetl.deploy.ledger import state_folder
from edgetl.deploy.turn import measuring_turn

HOLDER = """
import sys
from edgetl.deploy.turn import measuring_turn
with measuring_turn():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_second_process_waits_for_the_first_and_says_so():
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        said = []

        def note(words):
            said.append(words)
            other.stdin.write("\n")
            other.stdin.flush()

        with measuring_turn(note):
            assert other.wait(timeout=30) == 0
    assert said == ["another edgetl process is measuring on this machine: waiting for its end"]


def test_turn_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), measuring_turn():
        1 / 0  # noqa: B018
    with (state_folder() / "measuring.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
