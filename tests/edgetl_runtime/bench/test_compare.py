"""The design's error rates, small; all of them are in benchmarks/error_rates.py."""

from __future__ import annotations

import collections

import pytest

from edgetl_runtime.bench.compare import compare_rounds
from edgetl_runtime.bench.fake import NOISY, QUIET, FakeStation, Noise
from edgetl_runtime.bench.statistics import Design


@pytest.mark.parametrize(
    ("noise", "slower", "verdict", "at_least"),
    [
        (QUIET, 0.0, "PASS", 12),
        (NOISY, 0.0, "PASS", 11),
        (QUIET, 0.03, "REGRESSED", 9),
        (NOISY, 0.10, "REGRESSED", 12),
        (NOISY, -0.10, "IMPROVED", 12),
    ],
)
def test_verdicts_on_a_programmable_station(noise: Noise, slower: float, verdict: str, at_least: int) -> None:
    verdicts: collections.Counter[str] = collections.Counter()
    for seed in range(12):
        station = FakeStation({"A": 5.0, "B": 5.0 * (1 + slower)}, noise=noise, seed=seed)
        verdicts[compare_rounds(station.round, seed=seed).verdict] += 1
    assert verdicts[verdict] >= at_least, verdicts
    if slower <= 0:
        assert verdicts["REGRESSED"] == 0


def test_quartets_are_abba_or_baab_and_looks_stop_early() -> None:
    outcome = compare_rounds(FakeStation({"A": 5.0, "B": 6.0}).round)
    order = "".join(r.side for r in outcome.rounds)
    quartets = {order[i : i + 4] for i in range(0, len(order), 4)}
    assert len(order) == 20
    assert quartets == {"ABBA", "BAAB"}
    assert [look.verdict for look in outcome.looks] == ["REGRESSED"]
    assert outcome.looks[0].n == 10


def test_a_wild_station_uses_every_look_and_stays_inconclusive() -> None:
    wild = Noise(drift=0, process=0.5, jitter=0, spike_rate=0, cold=0)
    done: list[tuple[int, int]] = []
    outcome = compare_rounds(
        FakeStation({"A": 5.0, "B": 5.0}, noise=wild, seed=2).round,
        design=Design(looks=(10, 12)),
        progress=lambda pairs, look: done.append((pairs, look)),
    )
    assert outcome.verdict == "INCONCLUSIVE"
    assert [look.n for look in outcome.looks] == [10, 12]
    assert done[-1] == (12, 12)


def test_differences_are_of_neighbours_so_that_drift_cancels() -> None:
    """A machine that heats up along the whole comparison slows both sides alike."""
    station = FakeStation({"A": 5.0, "B": 5.0}, noise=Noise(drift=0, process=0, jitter=0, spike_rate=0, cold=0))
    base = dict(station.latency_ms)

    def heating(side: str, index: int):
        station.latency_ms = {name: ms * (1 + 0.005 * index) for name, ms in base.items()}
        return station.round(side, index)

    outcome = compare_rounds(heating)
    assert outcome.verdict == "PASS"
    assert abs(outcome.metrics["decision"].estimate) < 0.002
