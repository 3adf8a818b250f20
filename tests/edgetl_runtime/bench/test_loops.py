"""The open loop on a clock of its own: what is late delays the next, and counts."""

from __future__ import annotations

import pytest

from edgetl_runtime.bench.loops import open_loop
from edgetl_runtime.errors import UsageError


class Line:
    """A clock that calls and sleeps move; reading it takes a microsecond."""

    def __init__(self, *durations_ms: float) -> None:
        self.now_ns = 5
        self.durations_ms = list(durations_ms)
        self.items: list[str] = []

    def __call__(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def decide(self, item: str) -> None:
        self.items.append(item)
        self.now_ns += round(self.durations_ms[len(self.items) - 1] * 1e6)


def test_latency_counts_from_the_intended_arrival() -> None:
    line = Line(2, 25, 2, 2, 2)
    found = open_loop(line.decide, ["a", "b"], rate_hz=100, iterations=5, clock_ns=line, sleep=line.sleep)
    # due at 0, 10, 20, 30, 40: the second ends at 35, the third waits 15, the fourth 7
    assert found.samples_ms == pytest.approx((2, 25, 17, 9, 2), abs=0.02)
    assert found.late == 2
    assert line.items == ["a", "b", "a", "b", "a"]


def test_the_deadline_may_differ_from_the_period() -> None:
    line = Line(4, 6, 4)
    found = open_loop(line.decide, ["a"], rate_hz=50, iterations=3, deadline_ms=5, clock_ns=line, sleep=line.sleep)
    assert found.late == 1


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_must_be_positive(rate: float) -> None:
    with pytest.raises(UsageError, match="above 0 parts per second"):
        open_loop(print, ["a"], rate_hz=rate, iterations=1)
