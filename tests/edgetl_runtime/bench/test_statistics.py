"""Bounds are exact, verdicts are three-way, and nothing is claimed of too few rounds."""

from __future__ import annotations

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edgetl_runtime.bench import statistics
from edgetl_runtime.bench.statistics import Design
from edgetl_runtime.errors import UsageError

VALUES = st.lists(st.floats(-0.2, 0.2).filter(lambda v: abs(v) > 1e-6), min_size=4, max_size=14, unique=True)


@settings(max_examples=30)
@given(VALUES)
def test_p_greater_equals_scipys_exact_signed_rank_test(differences: list[float]) -> None:
    ranks = stats.rankdata(np.abs(differences))
    if len(set(ranks)) < len(ranks):  # ties are not exact there
        return
    expected = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
    assert statistics.p_greater(differences) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [3, 6, 9])
def test_signed_rank_cdf_equals_counting_all_signs(n: int) -> None:
    sums = [
        sum(r for r, s in zip(range(1, n + 1), signs, strict=True) if s)
        for signs in itertools.product((0, 1), repeat=n)
    ]
    expected = [np.mean(np.asarray(sums) <= w) for w in range(n * (n + 1) // 2 + 1)]
    np.testing.assert_allclose(statistics._signed_rank_cdf(n), expected)


@pytest.mark.parametrize(
    ("n", "error", "excluded"), [(10, 1 / 300, 2), (9, 1 / 300, 0), (8, 1 / 300, None), (5, 0.05, 0)]
)
def test_bounds_leave_out_as_many_averages_as_the_error_allows(n: int, error: float, excluded: int | None) -> None:
    values = list(np.random.default_rng(n).normal(size=n))
    walsh = sorted((a + b) / 2 for i, a in enumerate(values) for b in values[i:])
    low, high = statistics.bounds(values, error)
    expected = (-math.inf, math.inf) if excluded is None else (walsh[excluded], walsh[-1 - excluded])
    assert (low, high) == expected


def test_bounds_hold_the_error_on_normal_pairs() -> None:
    rng = np.random.default_rng(0)
    wrong = sum(statistics.bounds(rng.normal(size=10), 0.05)[0] > 0 for _ in range(2000))
    assert wrong / 2000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize(
    ("shift", "spread", "n", "verdict"),
    [
        (0.0, 0.005, 10, "PASS"),
        (0.015, 0.002, 10, "PASS"),  # surely slower, but by less than what matters
        (0.10, 0.01, 10, "REGRESSED"),
        (-0.10, 0.01, 10, "IMPROVED"),
        (0.0, 0.2, 10, None),
        (0.0, 0.2, 40, "INCONCLUSIVE"),
        (0.03, 0.03, 10, None),  # would matter if it were real: looked at again
    ],
)
def test_judge_is_three_way(shift: float, spread: float, n: int, verdict: str | None) -> None:
    pattern = np.resize([-1.0, 1.0, -0.6, 0.6, -0.3, 0.3], n)
    found = statistics.judge(list(shift + spread * pattern), Design())
    assert found.verdict == verdict
    assert found.lower <= found.estimate <= found.upper


def test_judge_together_shares_the_error_between_metrics() -> None:
    design = Design(error=0.0033)
    same, slow = [0.001, -0.001] * 5, [0.1 + i / 1000 for i in range(10)]
    assert statistics.judge_together({"decision": same, "network": slow}, design)[0] == "REGRESSED"
    assert statistics.judge_together({"decision": same, "network": same}, design)[0] == "PASS"
    # alone enough for REGRESSED, together with another not: 3 of 1024 sign patterns are as extreme
    barely = [0.1] * 8 + [0.09, 0.06]
    assert statistics.judge(barely, design).p_slower == pytest.approx(3 / 1024)
    assert statistics.judge(barely, design).verdict == "REGRESSED"
    assert statistics.judge_together({"decision": barely, "network": same}, design)[0] is None


def series(seed: int, n: int, *, memory: float, spread: float) -> list[float]:
    """Values of standard deviation `spread` whose neighbours are correlated by `memory`."""
    steps = np.random.default_rng(seed).normal(size=n)
    for i in range(1, n):
        steps[i] = memory * steps[i - 1] + math.sqrt(1 - memory**2) * steps[i]
    return list(spread * steps)


def last_verdict(differences: list[float]) -> str | None:
    """The verdict at the first look that gives one."""
    looks = (statistics.judge(differences[:n], Design()).verdict for n in Design().looks)
    return next(filter(None, looks), None)


@pytest.mark.parametrize("memory", [0.5, 0.7])
def test_pairs_that_resemble_their_neighbours_raise_no_false_alarm(memory: float) -> None:
    found = collections.Counter(last_verdict(series(seed, 40, memory=memory, spread=0.05)) for seed in range(500))
    assert found["REGRESSED"] <= 1
    assert found["IMPROVED"] <= 1
    assert found["INCONCLUSIVE"] > 400


@pytest.mark.parametrize(("slower", "least"), [(0.0, 95), (0.03, 75), (0.05, 95), (0.1, 99)])
def test_what_independent_pairs_show_is_still_found(slower: float, least: int) -> None:
    noisy = [series(seed, 40, memory=0.0, spread=0.0225) for seed in range(100)]
    found = collections.Counter(last_verdict([math.log1p(slower) + d for d in differences]) for differences in noisy)
    assert found["REGRESSED" if slower else "PASS"] >= least


def test_a_judgement_says_how_much_neighbouring_pairs_resemble_each_other() -> None:
    alike, apart = (statistics.judge(series(3, 40, memory=m, spread=0.05), Design()) for m in (0.7, 0.0))
    assert alike.memory > 0.4 > 0.3 > apart.memory
    assert alike.widened > 3 > 2 > apart.widened


def test_stored_rounds_that_resemble_their_neighbours_raise_no_false_alarm() -> None:
    found: collections.Counter[str] = collections.Counter()
    for seed in range(300):
        before, after = (
            list(np.exp(series(2 * seed + day, 10, memory=0.7, spread=0.05))) for day in range(2)
        )  # of two days
        found[statistics.judge_unpaired(before, after, threshold=0.05).verdict] += 1
    assert found["REGRESSED"] + found["IMPROVED"] <= 1


def test_bootstrap_resamples_rounds_and_refuses_too_few() -> None:
    assert statistics.bootstrap_interval([1.0] * 4) is None
    low, high = statistics.bootstrap_interval([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6]) or (0, 0)
    assert 1.0 <= low < 1.3 < high <= 1.6


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "PASS"), (1.2, "REGRESSED"), (0.8, "IMPROVED")])
def test_judge_unpaired_against_stored_rounds(factor: float, verdict: str) -> None:
    before = [5.0 + 0.01 * i for i in range(10)]
    assert statistics.judge_unpaired(before, [factor * v for v in before], threshold=0.05).verdict == verdict


def test_judge_unpaired_is_inconclusive_when_rounds_disagree() -> None:
    wild = [5.0, 7.0, 4.0, 6.5, 5.0, 8.0]
    assert statistics.judge_unpaired(wild, wild[::-1], threshold=0.05).verdict == "INCONCLUSIVE"


def test_change_points_finds_levels_and_not_noise() -> None:
    rng = np.random.default_rng(3)
    quiet = list(5 + 0.05 * rng.normal(size=30))
    assert statistics.change_points(quiet) == []
    stepped = quiet[:12] + [v + 0.5 for v in quiet[12:22]] + quiet[22:]
    assert statistics.change_points(stepped) == [12, 22]
    assert statistics.change_points([1.0, 2.0]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"looks": (10, 9)}, "rising even numbers"),
        ({"looks": (3,)}, "rising even numbers"),
        ({"looks": (4,)}, "enough pairs"),
        ({"error": 0.0}, "between 0 and 0.5"),
        ({"min_effect": 0.06}, "below the margin"),
    ],
)
def test_design_refuses_what_cannot_decide(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Design(**changes)  # type: ignore[arg-type]
