"""One is chosen, the reason is said, and a choice that is not decided is refused."""

from __future__ import annotations

import pytest

from edgetl.deploy.choice import Timed, choose
from edgetl.deploy.notes import Reason
from edgetl_runtime.errors import UnfitError

WILD = [2.0, 3.0, 1.5, 2.6] * 8


def timed(name, turns_ms, *, precision="f32", memory_mb=None):
    latency = {"turns_ms": turns_ms, "decision_ms": {"p50": sorted(turns_ms)[len(turns_ms) // 2]}}
    return Timed(name=name, precision=precision, latency=latency, memory_mb=lambda: memory_mb)


def test_the_fastest_is_chosen_and_memory_is_not_measured_for_it():
    slow = Timed(name="a", precision="f32", latency=timed("a", [3.0] * 30).latency, memory_mb=lambda: pytest.fail("no"))
    found = choose([slow, timed("b", [2.0] * 30)])
    assert (found.place, found.note.reason, found.rivals) == (1, Reason.FASTEST, ())
    found.require_decided()


def test_a_tie_says_what_decided_it():
    found = choose(
        [timed("a", [2.0] * 30, precision="int8", memory_mb=140.0), timed("b", [2.02] * 30, memory_mb=118.4)]
    )
    assert (found.place, found.note.reason) == (1, Reason.TIED)
    assert found.note.text == "equally fast within 3%: b (118 MB, f32) before a (140 MB, int8)"


def test_a_choice_that_is_not_decided_is_exit_4_with_both_names():
    found = choose([timed("a", WILD), timed("b", WILD[::-1])])
    assert found.note.reason is Reason.UNDECIDED
    with pytest.raises(UnfitError) as caught:
        found.require_decided()
    assert caught.value.exit_code == 4
    assert caught.value.sentence.startswith("the choice of the fastest candidate must be decided to within 3%; got ")
    assert "32 turns) may be up to" in caught.value.sentence
    assert "--allow-disturbed" in caught.value.fix
