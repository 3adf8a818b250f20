"""The design's error rates, small; all of them are in benchmarks/error_rates.py."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench.compare import compare_rounds
from edgetl_runtime.bench.harness import NOISY, QUIET, REMEMBERING, Harness, Noise
from edgetl_runtime.bench.statistics import Design

if TYPE_CHECKING:
    from edgetl_runtime.bench.record import Round


@pytest.mark.parametrize(
    ("noise", "slower", "verdict", "at_least"),
    [
        (QUIET, 0.0, "PASS", 12),
        (NOISY, 0.0, "PASS", 11),
        (QUIET, 0.03, "REGRESSED", 9),
        (NOISY, 0.10, "REGRESSED", 12),
        (NOISY, -0.10, "IMPROVED", 12),
        (REMEMBERING, 0.0, "INCONCLUSIVE", 10),
    ],
)
def test_verdicts_on_a_programmable_station(noise: Noise, slower: float, verdict: str, at_least: int) -> None:
    verdicts: collections.Counter[str] = collections.Counter()
    for seed in range(12):
        harness = Harness({"A": 5.0, "B": 5.0 * (1 + slower)}, noise=noise, seed=seed)
        verdicts[compare_rounds(harness.pair, seed=seed).verdict] += 1
    assert verdicts[verdict] >= at_least, verdicts
    if slower <= 0:
        assert verdicts["REGRESSED"] == 0


def test_each_side_is_first_as_often_and_looks_stop_early() -> None:
    harness = Harness({"A": 5.0, "B": 6.0})
    orders: list[str] = []

    def pair(order: str, index: int) -> tuple[Round, Round]:
        assert index == len(orders)
        orders.append(order)
        return harness.pair(order, index)

    outcome = compare_rounds(pair)
    assert {frozenset(orders[i : i + 2]) for i in range(0, 10, 2)} == {frozenset({"AB", "BA"})}
    assert orders != ["AB", "BA"] * 5
    assert "".join(r.side for r in outcome.rounds) == "AB" * 10
    assert [look.verdict for look in outcome.looks] == ["REGRESSED"]
    assert outcome.looks[0].n == 10


def test_a_wild_station_uses_every_look_and_stays_inconclusive() -> None:
    wild = Noise(drift=0, process=0.5, jitter=0, spike_rate=0, cold=0)
    done: list[tuple[int, int]] = []
    outcome = compare_rounds(
        Harness({"A": 5.0, "B": 5.0}, noise=wild, seed=2).pair,
        design=Design(looks=(10, 12)),
        progress=lambda pairs, look: done.append((pairs, look)),
    )
    assert outcome.verdict == "INCONCLUSIVE"
    assert [look.n for look in outcome.looks] == [10, 12]
    assert done[-1] == (12, 12)


def test_drift_and_single_bad_turns_cancel() -> None:
    """A machine that heats up, and other work during some turns, do not tell the sides apart."""
    drifting = Noise(drift=0.1, process=0, jitter=0, spike_rate=0, cold=0, disturbed_rate=0.1, disturbed=0.5)
    outcome = compare_rounds(Harness({"A": 5.0, "B": 5.0}, noise=drifting, seed=1).pair)
    assert outcome.verdict == "PASS"
    medians = [r.p50_ms for r in outcome.rounds]
    assert max(medians) > 1.1 * min(medians)
    assert abs(outcome.metrics["decision"].estimate) < 0.02
