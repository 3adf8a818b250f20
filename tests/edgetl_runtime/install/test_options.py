"""A signal ends a command as an interrupt does, and the words about a state say what matters."""

from __future__ import annotations

import os
import signal

import pytest

from edgetl_runtime.install.options import clean_stop, summary, words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_clean_stop_turns_signals_into_an_interrupt_and_restores_them(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), clean_stop():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_words_name_generations_and_damage(device_at):
    device = device_at("trial")
    found = summary(device, device.states.read())
    assert words(found).startswith("TRIAL: committed 000001-")
    assert "; on trial 000002-" in words(found)
    assert words({**found, "trial": None, "inconsistent": "bit rot"}).endswith("floor 1; INCONSISTENT: bit rot")
