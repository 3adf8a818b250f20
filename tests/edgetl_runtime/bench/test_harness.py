"""The invented machine does what it is told, through the real measuring loop."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest

from edgetl_runtime.bench.harness import ITERATIONS, REMEMBERING, Harness, Noise

SILENT = Noise(drift=0, process=0, jitter=0, spike_rate=0, cold=0)


def test_round_is_exact_without_noise() -> None:
    found = Harness({"A": 2.5}, noise=SILENT).round("A", 7)
    assert (found.side, found.index, found.steady) == ("A", 7, True)
    assert found.decision_ms == (2.5,) * ITERATIONS


def test_rounds_are_equal_for_equal_seeds() -> None:
    first, second, other = (Harness({"A": 5.0}, seed=seed).round("A", 0) for seed in (1, 1, 2))
    assert first == second != other


def test_the_cold_start_is_warmed_up_and_not_timed() -> None:
    found = Harness({"A": 4.0}, noise=Noise(drift=0, process=0, jitter=0, spike_rate=0, cold=3.0)).round("A", 0)
    assert max(found.decision_ms) == pytest.approx(4.0, rel=0.01)


def test_spikes_move_the_tail_and_not_the_median() -> None:
    spiky = Noise(drift=0, process=0, jitter=0, spike_rate=0.05, spike=5.0, cold=0)
    found = Harness({"A": 1.0}, noise=spiky, seed=3).round("A", 0)
    assert found.p50_ms == 1.0
    assert max(found.decision_ms) > 2.0


def test_drift_is_shared_by_neighbouring_rounds() -> None:
    harness = Harness({"A": 5.0, "B": 5.0}, noise=Noise(drift=0.1, process=0, jitter=0, spike_rate=0, cold=0))
    levels = [harness.round("AB"[i % 2], i).p50_ms for i in range(60)]
    steps = [abs(b - a) for a, b in itertools.pairwise(levels)]
    assert statistics.mean(steps) < statistics.stdev(levels)


def test_what_favours_a_side_lasts_where_the_station_remembers() -> None:
    harness = Harness({"A": 5.0, "B": 5.0}, noise=REMEMBERING, seed=4)
    pairs = [harness.pair("AB", i) for i in range(400)]
    differences = [math.log(b.p50_ms / a.p50_ms) for a, b in pairs]
    assert statistics.stdev(differences) == pytest.approx(0.05, rel=0.2)
    assert statistics.correlation(differences[1:], differences[:-1]) == pytest.approx(0.7, abs=0.1)


def test_the_sides_of_a_pair_see_the_same_drift() -> None:
    harness = Harness({"A": 5.0, "B": 5.0}, noise=Noise(drift=0.1, process=0, jitter=0, spike_rate=0, cold=0))
    a, b = harness.pair("BA", 3)
    assert (a.side, b.side, a.index, a.turns) == ("A", "B", 3, (ITERATIONS // 10,) * 10)
    assert abs(math.log(b.p50_ms / a.p50_ms)) < 0.1 < statistics.stdev(a.decision_ms)
