"""A signal sets the flag, a second one acts as usual, and handlers are put back.

Each case runs in a process of its own, with the libraries that a training process has loaded.
"""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from edgetl.finetune.interrupt import stop_on_signals

PROGRAM = """
import os, signal, sys
import openvino, torch
from edgetl.finetune.interrupt import stop_on_signals
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background of a shell inherits an ignored one
number = getattr(signal, sys.argv[1])
before = signal.getsignal(number)
with stop_on_signals() as stop:
    print(bool(stop))
    os.kill(os.getpid(), number)
    print(bool(stop), flush=True)
    if "twice" in sys.argv:
        os.kill(os.getpid(), number)
print(signal.getsignal(number) is before)
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_first_signal_sets_the_flag(name):
    done = run(name)
    assert (done.returncode, done.stdout.split()) == (0, ["False", "True", "True"]), done.stderr


@pytest.mark.parametrize(("name", "code", "words"), [("SIGINT", -2, "KeyboardInterrupt"), ("SIGTERM", -15, "")])
def test_second_signal_acts_as_usual(name, code, words):
    done = run(name, "twice")
    assert (done.returncode, done.stdout.split()) == (code, ["False", "True"])
    assert words in done.stderr


def test_other_threads_get_a_flag_without_handlers():
    found = []

    def work():
        with stop_on_signals() as stop:
            found.append(bool(stop))
            stop.set()
            found.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False, True]
