"""Percentiles are right, and the measuring loop is tested on a clock of its own."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl_runtime import measure
from edgetl_runtime.errors import UsageError


class Clock:
    """A clock that only moves when the measured call lets it."""

    def __init__(self, *durations_ms: float) -> None:
        self.now_ns = 0
        self.durations_ms = durations_ms
        self.calls: list[object] = []

    def call(self, item: object) -> None:
        index = min(len(self.calls), len(self.durations_ms) - 1)
        self.calls.append(item)
        self.now_ns += round(self.durations_ms[index] * 1e6)

    def __call__(self) -> int:
        return self.now_ns


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1e3), min_size=300, max_size=400))
def test_percentile_equals_numpys_nearest_rank(samples: list[float]) -> None:
    for percent in (50, 90, 99):
        assert measure.percentile(samples, percent) == np.percentile(samples, percent, method="inverted_cdf")


@pytest.mark.parametrize(("percent", "needed"), [(50, 5), (90, 29), (95, 59), (99, 299), (99.9, 2995)])
def test_percentile_is_none_when_samples_are_too_few(percent: float, needed: int) -> None:
    assert measure.needed(percent) == needed
    assert measure.percentile([1.0] * (needed - 1), percent) is None
    assert measure.percentile([1.0] * needed, percent) == 1.0


@pytest.mark.parametrize(
    ("medians", "steady"),
    [
        ([1.0, 1.0], False),
        ([1.0, 1.0, 1.0], True),
        ([1.0, 1.015, 1.005], True),
        ([1.0, 1.03, 1.0], False),
        ([1.0, 1.008, 1.016], False),
        ([1.016, 1.008, 1.0], False),
        ([1.0, 1.002, 1.004], True),
        ([5.0, 3.0, 1.0, 1.0, 1.0], True),
    ],
)
def test_is_steady_needs_three_that_agree_without_trend(medians: list[float], steady: bool) -> None:
    assert measure.is_steady(medians) is steady


def test_measure_latency_keeps_every_sample_and_cycles_over_inputs() -> None:
    clock = Clock(2.0)
    record = measure.measure_latency(clock.call, ["a", "b", "c"], min_seconds=0, threads=2, clock_ns=clock)
    assert (record.n, record.p50_ms, record.p90_ms, record.p99_ms, record.max_ms) == (300, 2.0, 2.0, 2.0, 2.0)
    assert record.samples_ms == (2.0,) * 300
    assert record.steady
    assert record.conditions["warmup_iterations"] == 20 + 40 + 80
    assert record.conditions["threads"] == 2
    assert clock.calls[140:146] == ["a", "b", "c", "a", "b", "c"]


def test_measure_latency_warms_up_until_steady() -> None:
    clock = Clock(*([50.0] * 70 + [10.0]))
    record = measure.measure_latency(clock.call, [1], min_seconds=0, max_warmup_seconds=60, clock_ns=clock)
    assert record.steady
    assert record.conditions["warmup_iterations"] == 20 + 40 + 80 + 160 + 320
    assert record.p50_ms == 10.0


def test_measure_latency_says_when_it_never_got_steady() -> None:
    clock = Clock(*np.geomspace(1, 400, 1000))
    record = measure.measure_latency(clock.call, [1], min_iterations=5, min_seconds=0, clock_ns=clock)
    assert not record.steady


def test_measure_latency_runs_for_the_minimal_time_and_stops_at_the_maximal() -> None:
    clock = Clock(1.0)
    assert measure.measure_latency(clock.call, [1], min_iterations=10, min_seconds=1, clock_ns=clock).n == 1000
    slow = Clock(1000.0)
    record = measure.measure_latency(slow.call, [1], max_seconds=10, max_warmup_seconds=2, clock_ns=slow)
    assert (record.n, record.p50_ms, record.p99_ms, record.steady) == (10, 1000.0, None, False)


def test_measure_latency_turns_the_collector_off_and_on_again() -> None:
    seen = []
    measure.measure_latency(
        lambda _: seen.append(gc.isenabled()), [1], min_iterations=5, min_seconds=0, max_warmup_seconds=0.1
    )
    assert set(seen) == {False}
    assert gc.isenabled()

    def broken(_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        measure.measure_latency(broken, [1])
    assert gc.isenabled()


def test_measure_latency_refuses_no_inputs() -> None:
    with pytest.raises(UsageError, match="at least one"):
        measure.measure_latency(print, [])
