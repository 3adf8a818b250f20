"""Timing of candidates: in turns, every sample counted, further turns where it is not clear who is fastest."""

from __future__ import annotations

import types

import cv2
import numpy as np
import pytest

from edgetl.deploy import latency
from edgetl.deploy.candidates import Candidate
from edgetl.deploy.latency import measure_candidates
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.proof import Standing
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds

RUN = types.SimpleNamespace(
    preprocess=PreprocessSpec(width_px=8, height_px=8),
    task="inspection",
    labels=Labels(classes=("good", "hole"), defect_classes=("hole",)),
)
IMAGES = [cv2.imencode(".png", np.full((8, 8, 3), i, np.uint8))[1].tobytes() for i in range(12)]


def candidate(name, *, backend="onnxruntime", precision="f32", threads=1, model=b""):
    return Candidate(
        id=name, backend=backend, precision=precision, model=model, evidence={}, val={}, drop_pp=0.0, flips=0,
        options=VariantOptions(threads=threads), requires=Requires(),
        params=Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0), task="inspection",
    )  # fmt: skip


def kinds(*names):
    """Candidates that differ in more than threads."""
    return [candidate(name, backend=name) for name in names]


def measured(candidates, **options):
    return measure_candidates(RUN, candidates, IMAGES, lambda *_: None, **options)


def wild(seed):
    rng = np.random.default_rng(seed)
    return lambda _candidate, _s: float(2 * np.exp(0.4 * rng.normal()))


def test_real_candidates_keep_every_sample(tiny_parts, tiny_onnx, monkeypatch):
    monkeypatch.setattr(latency, "TURNS", 3)
    monkeypatch.setattr(latency, "TURN_S", 0.0)
    monkeypatch.setattr(latency, "WARMUP_S", 0.1)
    monkeypatch.setattr(latency, "SETTLE_S", 0.0)
    manifest, members = tiny_parts()
    run = types.SimpleNamespace(preprocess=manifest.preprocess, task=manifest.task, labels=manifest.labels)
    made = [candidate(name, backend=name, model=tiny_onnx()) for name in ("onnxruntime", "openvino")]
    steps = []
    encoded = [members[name] for name in manifest.golden.images]
    found = measure_candidates(run, made, encoded, lambda *step: steps.append(step))
    assert steps == [(done, 6) for done in range(1, 7)]
    for c in found:
        figures = c.latency
        assert figures["n"] == 3 * 10
        assert len(figures["turns_ms"]) == 3
        assert 0 < figures["infer_ms"]["p50"] < figures["decision_ms"]["p50"] <= figures["decision_ms"]["max"]
        assert figures["decision_ms"]["p99"] is None  # 30 timings cannot say
        assert figures["threads"] == c.options.threads
        assert figures["slowest_ms"][0] == figures["decision_ms"]["max"]
        assert len(figures["slowest_ms"]) == 30
        assert figures["other_work_cores"] >= 0


def test_figures_are_those_of_the_clock_and_turns_are_in_reverse_order_every_other_time(programmed):
    times = {"a": 1.0, "b": 2.0, "c": 20.0}
    machine = programmed(lambda c, _: times[c.id], foreign_cores=0.75)
    a, b, c = (one.latency for one in measured(kinds("a", "b", "c")))
    assert (a["decision_ms"], a["infer_ms"]) == ({"p50": 1.0, "p99": 1.0, "max": 1.0},) * 2
    assert [figures["decision_ms"]["p50"] for figures in (b, c)] == [2.0, 20.0]
    assert a["n"] == 30 * 100  # a tenth of a second
    assert c["n"] == 30 * 10  # ten decisions at least
    assert b["turns_ms"] == [2.0] * 30
    assert len(a["slowest_ms"]) == 60  # 2 %, so that a p99 that is nearly kept can be judged
    assert a["other_work_cores"] == 0.75
    assert "".join(machine.turns[:12]) == "abc" + "abcbabcba"  # warm-up; then the last of a cycle begins the next one


def test_one_disturbed_round_does_not_hide_the_fastest_candidate(programmed):
    """As long as a third of the first turns, everything of one candidate takes 30 times as long."""

    def latency_ms(c, now_s):
        base = {"fast": 2.1, "slow": 7.9}[c.id]
        return 30 * base if c.id == "fast" and 2.0 < now_s < 4.5 else base

    programmed(latency_ms)
    fast, slow = measured(kinds("fast", "slow"))
    assert fast.latency["decision_ms"]["p50"] == 2.1 < 7.9 == slow.latency["decision_ms"]["p50"]
    assert fast.latency["decision_ms"]["p99"] > 8 > slow.latency["decision_ms"]["p99"]


def test_what_is_clear_takes_no_further_turns_and_what_is_not_takes_them_until_it_is(programmed):
    draws = {name: wild(seed) for seed, name in enumerate(("a", "b"))}
    programmed(lambda c, s: 9.0 if c.id == "slow" else draws[c.id](c, s) * (1.0 if c.id == "a" else 1.1))
    a, b, slow = measured(kinds("a", "b", "slow"))
    assert len(slow.latency["turns_ms"]) == 30
    assert len(a.latency["turns_ms"]) == len(b.latency["turns_ms"]) > 30


def test_further_turns_end_when_their_time_is_over(programmed, monkeypatch):
    monkeypatch.setattr(latency, "SETTLE_S", 10.0)
    levels = {"a": [2.0, 4.0], "b": [4.0, 2.0]}  # a and b change places all the time
    machine = programmed(lambda c, s: levels[c.id][int(s / 3.1) % 2])
    a, b = measured(kinds("a", "b"))
    assert len(a.latency["turns_ms"]) > 30
    assert machine.now_ns / 1e9 < 2 * 30 * 0.12 + 10.0 + 2
    assert abs(a.latency["n"] - b.latency["n"]) > 0


def test_a_p99_that_is_not_proven_takes_further_turns(programmed):
    programmed(lambda *_: 20.0)
    asked = []

    def standing(c):
        asked.append(c.latency["n"])
        return Standing.KEPT if c.latency["n"] >= 473 else Standing.UNPROVEN

    (one,) = measured(kinds("a"), standing=standing)
    assert (min(asked), one.latency["n"]) == (300, max(asked))
    assert 473 <= one.latency["n"] < 700


def test_what_misses_the_contract_is_not_waited_for(programmed):
    draws = {name: wild(seed) for seed, name in enumerate(("a", "b"))}
    programmed(lambda c, s: 9.0 if c.id == "slow" else draws[c.id](c, s))
    missed = {"a", "b"}
    found = measured(kinds("a", "b", "slow"), standing=lambda c: Standing.MISSED if c.id in missed else Standing.KEPT)
    assert [len(c.latency["turns_ms"]) for c in found] == [30, 30, 30]


@pytest.mark.parametrize(("two_ms", "kept"), [(1.5, 2), (2.5, 1), (1.99, 1)])
def test_of_those_that_differ_in_threads_the_faster_is_kept_and_fewer_threads_where_they_tie(two_ms, kept, programmed):
    programmed(lambda c, _: {1: 2.0, 2: two_ms}[c.options.threads])
    (found,) = measured([candidate("t2", threads=2), candidate("t1", threads=1)])
    assert found.options.threads == kept


def test_both_thread_counts_are_kept_where_it_matters_and_is_not_clear(programmed, monkeypatch):
    monkeypatch.setattr(latency, "SETTLE_S", 0.0)
    draws = {1: wild(1), 2: wild(2)}
    programmed(lambda c, s: draws[c.options.threads](c, s) * (1 + (s % 0.7)))
    monkeypatch.setattr(latency, "TURN_S", 0.0)
    monkeypatch.setattr(latency, "TURNS", 12)
    assert len(measured([candidate("t1", threads=1), candidate("t2", threads=2)])) == 2


def test_screening_takes_the_best_of_a_few_turns(programmed):
    programmed(lambda c, s: (2.0 if c.id == "a" else 3.0) * (10 if s < 1.0 else 1))
    contestants = [latency.Contestant(run=RUN, candidate=c, encoded=IMAGES) for c in kinds("a", "b")]
    assert latency.screen(contestants) == [2.0, 3.0]
