"""A signal sets the flag, a second one acts as usual, and handlers are put back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from edgetl.finetune.interrupt import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_sets_the_flag(number):
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
    assert signal.getsignal(number) is before


def test_second_interrupt_acts_as_usual():
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


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
