"""Front and choice: by hand on few points, against brute force on many."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.deploy.notes import Reason
from edgetl.metrics import pareto_front
from edgetl.search.choice import point_of, reason, settle
from edgetl_runtime.contract import Contract


def point(name, p99, accuracy, *, why="", best=0.98, n=200, memory_mb=None, turns=None):
    candidate = {
        "id": f"{name}-int8", "backend": "openvino", "precision": "int8", "threads": 1, "accuracy": accuracy,
        "drop_pp": 0.0, "flips": 1, "escapes": 2, "overkill": 3, "n": n, "size_bytes": 9, "why": why,
    }  # fmt: skip
    decisions = {"p50": 0.8 * p99, "p99": p99} if p99 else None
    figures = {"decision_ms": decisions, "n": 300, "slowest_ms": [p99], "measured_on": "this CPU"}
    figures["turns_ms"] = turns or [0.8 * (p99 or 0)] * 30
    return point_of(
        name,
        candidate,
        latency=figures if p99 else None,
        best_accuracy=best,
        counts=("escapes", "overkill"),
        memory_mb=memory_mb,
    )


def settled(points, contract=Contract(), gap=2.0):  # noqa: B008  (frozen)
    return settle(points, contract, max_gap_pp=gap, target="local").points


def test_fastest_that_keeps_everything_is_chosen_and_the_front_shows_what_terms_cost():
    points = [point("big", 9.0, 0.98), point("mid", 5.0, 0.97), point("tiny", 2.0, 0.90), point("bad", 6.0, 0.96)]
    judged = settle(points, Contract(p99_ms=8), max_gap_pp=2.0, target="local")
    found = {p["network"]: p for p in judged.points}
    assert [name for name, p in found.items() if p["chosen"]] == ["mid"]
    assert {name for name, p in found.items() if p["on_front"]} == {"big", "mid", "tiny"}
    assert found["big"]["why"] == "p99 9.00 ms > 8.00"
    assert found["tiny"]["why"] == "8.00 pp below the most accurate float network > 2.00"
    assert found["tiny"]["gap_pp"] == pytest.approx(8.0)
    assert reason(judged).startswith(
        "the fastest of 2 that keep the contract, p50 4.00 ms; tiny/tiny-int8 would take 1.60 ms, but"
    )


def test_a_disturbed_p99_does_not_hide_the_fastest_and_the_front_is_of_p50():
    points = [point("slow", 8.0, 0.98), point("fast", 60.0, 0.98, turns=[2.1] * 30)]
    points[1]["p50_ms"] = 2.1
    found = settled(points)
    assert [(p["network"], p["chosen"], p["on_front"]) for p in found] == [("fast", True, True), ("slow", False, False)]


def test_equally_fast_ones_are_told_apart_by_memory_and_that_is_said():
    points = [point("a", 5.0, 0.98, memory_mb=150.0), point("b", 5.05, 0.98, memory_mb=120.0)]
    judged = settle(points, Contract(), max_gap_pp=2.0, target="local")
    assert [(p["network"], p["chosen"]) for p in judged.points] == [("b", True), ("a", False)]
    assert judged.choice.note.reason is Reason.TIED
    assert reason(judged).startswith("equally fast within 3%: b/b-int8 (120 MB, int8) before a/a-int8 (150 MB, int8)")


def test_a_choice_that_turns_do_not_decide_says_so():
    wild = [2.0, 3.0, 1.5, 2.6] * 8
    points = [point("a", 4.0, 0.98, turns=wild), point("b", 4.0, 0.98, turns=wild[::-1])]
    judged = settle(points, Contract(), max_gap_pp=2.0, target="local")
    assert judged.choice.rivals
    assert reason(judged).startswith("not decided which is fastest: ")


def test_what_breaks_the_contract_is_not_chosen_however_fast():
    found = settled([point("fast", 1.0, 0.98, why="flips 9.00 % > 2.00"), point("slow", 9.0, 0.98)])
    assert [p["network"] for p in found] == ["slow", "fast"]
    assert [p["chosen"] for p in found] == [True, False]


def test_a_gap_of_one_image_is_the_resolution_of_the_split():
    (one,) = settled([point("x", 1.0, 0.93, n=20)], gap=0.0)
    assert one["why"] == ""
    (two,) = settled([point("x", 1.0, 0.88, n=20)], gap=0.0)
    assert "pp below" in two["why"]


def test_a_bound_that_was_not_measured_is_said_and_what_is_proven_goes_first():
    points = [
        point("fast", 1.0, 0.98),
        point("slow", 9.0, 0.98, memory_mb=90.0),
        point("big", 0.5, 0.98, memory_mb=123),
    ]
    found = settled(points, Contract(max_memory_mb=100))
    assert [(p["network"], p["chosen"]) for p in found] == [("slow", True), ("fast", False), ("big", False)]
    assert found[1]["unproven"] == ["memory of at most 100 MB (not measured on local)"]
    assert found[2]["why"] == "memory 123.00 MB > 100.00"


def test_nothing_kept_is_no_choice():
    found = settle([point("x", 1.0, 0.5)], Contract(), max_gap_pp=2.0, target="local")
    assert (found.points[0]["chosen"], found.choice) == (False, None)
    assert reason(found) == "no candidate keeps the contract"


def test_unmeasured_target_takes_the_most_accurate_network():
    found = settle([point("a", None, 0.97), point("b", None, 0.98)], Contract(), max_gap_pp=2.0, target="local")
    shown = [(p["network"], p["chosen"], p["on_front"]) for p in found.points]
    assert shown == [("b", True, False), ("a", False, False)]
    assert reason(found).startswith("latency not measured on hardware")


def test_front_equals_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [(float(c), float(g)) for c, g in rng.integers(0, 8, (12, 2))]
        beaten = [any(o[0] <= p[0] and o[1] >= p[1] and o != p for o in points) for p in points]
        assert sorted(pareto_front(points)) == [i for i, b in enumerate(beaten) if not b]
