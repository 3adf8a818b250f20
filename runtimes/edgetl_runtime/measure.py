"""Latency of one call, measured so that it can be believed: warm, monotonic, raw samples kept, conditions stated."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import os
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

BLOCK_ITERATIONS = 20
AGREE_WITHIN = 0.02
TREND_ABOVE = 0.01  # three medians are in order by chance every third time; a trend is one that also moves
_NS_PER_MS = 1e6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRecord:
    """What was measured, and under which conditions.

    Attributes:
        n: Timed iterations.
        p50_ms: Median; None if n is too small for it, as for the others.
        p90_ms: 90th percentile.
        p99_ms: 99th percentile; needs 299 iterations.
        max_ms: Slowest iteration.
        steady: The warm-up reached a steady state before it was cut off.
        samples_ms: Every timed iteration, in order.
        conditions: Threads, load averages, inputs, warm-up.
    """

    n: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    max_ms: float
    steady: bool
    samples_ms: tuple[float, ...]
    conditions: dict[str, Any]


def needed(percent: float) -> int:
    """Return how many samples a percentile needs, so that one lies beyond it with 95 % confidence.

    Example:
        >>> needed(50), needed(90), needed(99)
        (5, 29, 299)
    """
    return math.ceil(round(math.log(0.05) / math.log(percent / 100), 9))


def percentile(samples: Sequence[float], percent: float) -> float | None:
    """Return a percentile by the nearest rank, None if there are too few samples to speak of it.

    Example:
        >>> percentile([5.0, 1.0, 3.0, 2.0, 4.0], 50)
        3.0
    """
    if len(samples) < needed(percent):
        return None
    rank = math.ceil(round(percent / 100 * len(samples), 9))
    return sorted(samples)[rank - 1]


def is_steady(medians: Sequence[float]) -> bool:
    """Say whether the last three block medians agree and do not drift.

    Example:
        >>> is_steady([9.0, 1.0, 1.001, 0.999]), is_steady([1.0, 1.1, 1.2])
        (True, False)
    """
    if len(medians) < 3:
        return False
    first, second, third = medians[-3:]
    low, high = min(first, second, third), max(first, second, third)
    trend = (first < second < third or first > second > third) and high > low * (1 + TREND_ABOVE)
    return high <= low * (1 + AGREE_WITHIN) and not trend


def measure_latency(
    call: Callable[[T], object],
    inputs: Sequence[T],
    *,
    min_iterations: int = 300,
    min_seconds: float = 1.0,
    max_seconds: float = 30.0,
    max_warmup_seconds: float = 5.0,
    threads: int | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> LatencyRecord:
    """Time a call, one after the other, over several inputs in turn.

    Args:
        call: Takes one input; must have finished its work when it returns.
        inputs: At least one; several different ones, so that nothing is answered from a cache.
        min_iterations: Timed at least; 299 are needed for a p99.
        min_seconds: Timed at least.
        max_seconds: Timing stops after this, even short of `min_iterations`.
        max_warmup_seconds: The warm-up is cut off after this.
        threads: Recorded with the conditions.
        clock_ns: Monotonic clock; tests give their own.

    Raises:
        UsageError: There is no input.
    """
    if not inputs:
        raise UsageError("inputs of a measurement", "at least one", "none", fix="pass some images")
    load_before = os.getloadavg()
    steady, warmed = warm_up(call, inputs, max_seconds=max_warmup_seconds, clock_ns=clock_ns)
    samples_ms = time_calls(
        call,
        inputs,
        min_iterations=min_iterations,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        clock_ns=clock_ns,
    )
    return LatencyRecord(
        n=len(samples_ms),
        p50_ms=percentile(samples_ms, 50),
        p90_ms=percentile(samples_ms, 90),
        p99_ms=percentile(samples_ms, 99),
        max_ms=max(samples_ms),
        steady=steady,
        samples_ms=samples_ms,
        conditions={
            "threads": threads,
            "inputs": len(inputs),
            "warmup_iterations": warmed,
            "loadavg_before": load_before,
            "loadavg_after": os.getloadavg(),
            "garbage_collector": "off",
            "clock": "monotonic",
        },
    )


def warm_up(
    call: Callable[[T], object],
    inputs: Sequence[T],
    *,
    max_seconds: float = 5.0,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> tuple[bool, int]:
    """Call in blocks of doubling length until the medians of three agree.

    Args:
        call: Takes one input.
        inputs: In turn.
        max_seconds: The warm-up is cut off after this.
        clock_ns: Monotonic clock; tests give their own.

    Returns:
        Whether it became steady before it was cut off, and the number of calls.
    """
    loop = _Loop(call, inputs, clock_ns)
    with _without_collecting():
        steady = loop.run_until_steady(round(max_seconds * 1e9))
    return steady, len(loop.samples_ns)


def time_calls(
    call: Callable[[T], object],
    inputs: Sequence[T],
    *,
    min_iterations: int,
    min_seconds: float,
    max_seconds: float = 30.0,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> tuple[float, ...]:
    """Return the milliseconds of every call, one after the other, of a caller that has warmed up.

    Args:
        call: Takes one input; must have finished its work when it returns.
        inputs: In turn.
        min_iterations: Timed at least.
        min_seconds: Timed at least.
        max_seconds: Timing stops after this, even short of `min_iterations`.
        clock_ns: Monotonic clock; tests give their own.

    Example:
        >>> len(time_calls(len, ["part"], min_iterations=5, min_seconds=0))
        5
    """
    loop = _Loop(call, inputs, clock_ns)
    with _without_collecting():
        loop.run(min_iterations, at_least_ns=round(min_seconds * 1e9), at_most_ns=round(max_seconds * 1e9))
    return tuple(ns / _NS_PER_MS for ns in loop.samples_ns)


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Collect garbage now and not while it is timed."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Loop(Generic[T]):
    """Calls with the inputs in turn and keeps every sample."""

    def __init__(self, call: Callable[[T], object], inputs: Sequence[T], clock_ns: Callable[[], int]) -> None:
        self.call = call
        self.inputs = inputs
        self.clock_ns = clock_ns
        self.samples_ns: list[int] = []

    def run(self, iterations: int, *, at_least_ns: int = 0, at_most_ns: int) -> int:
        """Call `iterations` times and for `at_least_ns`, but not beyond `at_most_ns`; return the time spent."""
        call, clock_ns, samples = self.call, self.clock_ns, self.samples_ns
        done = spent = 0
        start = clock_ns()
        while (done < iterations or spent < at_least_ns) and (done == 0 or spent < at_most_ns):
            item = self.inputs[len(samples) % len(self.inputs)]
            begin = clock_ns()
            call(item)
            end = clock_ns()
            samples.append(end - begin)
            done += 1
            spent = end - start
        return spent

    def run_until_steady(self, at_most_ns: int) -> bool:
        """Run blocks of doubling length until three medians agree; False if time ran out first."""
        medians: list[float] = []
        size = BLOCK_ITERATIONS
        spent_ns = 0
        while not is_steady(medians):
            before = len(self.samples_ns)
            spent_ns += self.run(size, at_most_ns=at_most_ns - spent_ns)
            block = sorted(self.samples_ns[before:])
            if spent_ns >= at_most_ns:
                return False
            medians.append(block[len(block) // 2])
            size *= 2
        return True
