"""One measuring process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime import locks
from edgetl_runtime.bench.exclusion import lock_path, measuring_alone
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from edgetl_runtime.bench.exclusion import measuring_alone
with measuring_alone():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


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

        with measuring_alone(note):
            assert other.wait(timeout=60) == 0
    assert said == ["another edgetl process is measuring on this machine: waiting for its end"]


def test_lock_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), measuring_alone():
        1 / 0  # noqa: B018
    lock = locks.open_lock(lock_path())
    assert locks.try_lock(lock)
    os.close(lock)


def test_state_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="file/edgetl must be writable; got Not a directory"), measuring_alone():
        pass
