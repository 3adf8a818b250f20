"""The self-test's child: what it proves, and what it survives for us."""

from __future__ import annotations

import dataclasses
import json
import re

import faults
import pytest

from edgetl_runtime import measure, memory
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.contract import Contract
from edgetl_runtime.install import selftest
from edgetl_runtime.install.selftest import SelfTestLimits
from edgetl_runtime.memory import Taken
from edgetl_runtime.schema import from_mapping, to_mapping


def held_to(contract, **limits):
    return SelfTestLimits(contract=contract, **limits)


def play(monkeypatch, samples_ms):
    """Let every timed decision take what is said: time that a script gives, not a machine."""
    waiting = iter(samples_ms)

    def timed(_call, _images, *, min_iterations, max_seconds, **_):
        taken, spent_ms = [], 0.0
        while len(taken) < min_iterations and spent_ms < 1000 * max_seconds:
            taken.append(next(waiting))
            spent_ms += taken[-1]
        return tuple(taken)

    monkeypatch.setattr(measure, "time_calls", timed)
    monkeypatch.setattr(measure, "warm_up", lambda *_, **__: (True, 0))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def silent(kit, tmp_path_factory):
    """A bundle whose model takes a day for an answer: whatever is done meanwhile is certain to come before it."""
    path = tmp_path_factory.mktemp("silent") / "silent.edgetl"
    return faults.small_bundle(path, sequence=9, seed=9, key=kit.key, latency_ms=86_400_000.0)


def test_run_proves_and_measures_in_a_child(kit, cache):
    found = selftest.run(kit.bundles["old"], "null-f32", cache, SelfTestLimits())
    assert found["passed"]
    assert found["golden"]["count"] == 2
    assert found["latency_ms"]["p50"] > 0
    assert 10 < found["memory_mb"] < 1000


def test_run_tells_a_wrong_answer_a_hang_and_a_runaway(kit, cache, silent):
    found = selftest.run(kit.bundles["wrong"], "null-f32", cache, SelfTestLimits())
    assert not found["passed"]
    assert "golden scores" in found["reason"]
    hang = selftest.run(silent, "null-f32", cache, SelfTestLimits(timeout_s=0.4))
    assert (hang["passed"], hang["reason"]) == (False, "no answer within 0 s")
    greedy = selftest.run(silent, "null-f32", cache, SelfTestLimits(memory_mb=5.0))
    assert not greedy["passed"]
    # seen from outside, or refused by the system and told by the child, whichever comes first
    assert re.search(r"MB, more than 5 MB|memory|died with code", greedy["reason"])


def test_prove_holds_latency_and_memory_against_the_contract(kit, cache, monkeypatch):
    monkeypatch.setattr(selftest, "ITERATIONS", 20)
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, held_to(Contract(p50_ms=1e-6, max_memory_mb=1.0)))
    assert not found["passed"]
    assert [breach.split()[0] for breach in found["breaches"]] == ["p50", "memory"]
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, held_to(Contract(p50_ms=1e6)))
    assert (found["passed"], found["latency_ms"]["n"], found["unproven"]) == (True, 20, [])


@pytest.mark.parametrize("late", [1, 2])
def test_prove_goes_on_until_a_p99_is_proved(kit, cache, monkeypatch, late):
    """One late decision of 300 proves nothing: 473 do, and with two of them 628."""
    play(monkeypatch, [1000.0] * late + [1.0] * 10_000)
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, held_to(Contract(p99_ms=10.0)))
    assert (found["passed"], found["latency_ms"]["n"]) == (True, {1: 500, 2: 700}[late])
    assert found["kept"] == [f"p99 of 10 ms kept: {late} of {found['latency_ms']['n']} decisions took longer"]


def test_what_was_not_proved_in_its_time_passes_only_where_that_is_allowed(kit, cache, monkeypatch):
    """200 decisions of 0.6 s take all the time there is; none was late, and yet they are no p99."""
    play(monkeypatch, [600.0] * 200)
    limits = held_to(Contract(p50_ms=700.0, p99_ms=700.0))
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, limits)
    assert (found["passed"], found["breaches"]) == (False, [])
    assert found["unproven"] == ["p99 of at most 700 ms (0 of 200 decisions took longer; more are needed to tell)"]
    assert found["reason"] == found["unproven"][0]
    play(monkeypatch, [600.0] * 200)
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, dataclasses.replace(limits, allow_unproven=True))
    assert (found["passed"], len(found["unproven"])) == (True, 1)


def test_few_decisions_that_are_all_late_break_a_p99(kit, cache, monkeypatch):
    play(monkeypatch, [1000.0] * 120)
    limits = held_to(Contract(p99_ms=10.0), allow_unproven=True)
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, limits)
    assert (found["passed"], found["breaches"]) == (False, ["p99 of 10 ms missed: 120 of 120 decisions took longer"])


def test_the_typical_decision_is_counted_not_a_round(kit, cache, monkeypatch):
    """A fast spell amid slow ones: 100 of 300 below the bound of the median."""
    play(monkeypatch, [9.0] * 100 + [1.0] * 100 + [9.0] * 100)
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, held_to(Contract(p50_ms=5.0)))
    assert found["breaches"] == ["p50 of 5 ms missed: 200 of 300 decisions took longer"]


def test_memory_that_the_kernel_does_not_tell_is_unproven(kit, cache, monkeypatch):
    monkeypatch.setattr(memory, "peak_memory_mb", lambda _: None)
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, held_to(Contract(max_memory_mb=1000.0)))
    assert (found["passed"], [words.split()[0] for words in found["unproven"]]) == (False, ["memory"])


def test_limits_are_those_of_the_bundle_and_cross_to_the_child(kit):
    with open_bundle(kit.bundles["old"]) as bundle:
        contract = Contract(p99_ms=5, max_memory_mb=6000, max_escapes=1)
        limits = selftest.limits_of(dataclasses.replace(bundle.manifest, contract=contract), allow_unproven=True)
    assert (limits.contract, limits.allow_unproven) == (contract, True)
    told = json.loads(json.dumps(to_mapping(limits)))
    assert from_mapping(SelfTestLimits, told, where="here") == limits


@pytest.mark.parametrize(
    ("bound_mb", "standing", "words"),
    [
        (500.0, "unproven", "memory of at most 500 MB (200 MB resident, the GPU's share is not known)"),
        (150.0, "breaches", "memory 200.00 MB > 150.00"),  # whatever the GPU took
    ],
)
def test_memory_that_is_not_known_is_unproven_and_never_kept(kit, cache, monkeypatch, bound_mb, standing, words):
    unknown = Taken(peak_mb=None, resident_mb=200.0, source="200 MB resident, the GPU's share is not known")
    monkeypatch.setattr(selftest.Meter, "read", lambda _self, *, unseen_mb: unknown)
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, held_to(Contract(max_memory_mb=bound_mb)))
    assert (found["passed"], found[standing], found["kept"]) == (False, [words], [])
    assert (found["memory_mb"], found["memory_source"]) == (None, unknown.source)
