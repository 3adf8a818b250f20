"""The open loop: decisions at the line's rate, timed from the moment the part was due."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, TypeVar

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
_NS_PER_MS = 1e6
_SPIN_NS = 200_000  # sleeping wakes up late by about this much


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoop:
    """What an open loop saw: latencies in milliseconds from the intended arrival, and how many missed the deadline."""

    samples_ms: tuple[float, ...]
    late: int


def open_loop(
    call: Callable[[T], object],
    inputs: Sequence[T],
    *,
    rate_hz: float,
    iterations: int,
    deadline_ms: float | None = None,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> OpenLoop:
    """Call at a fixed rate whether or not the last call is done, as parts arrive.

    A slow call delays the following ones, and their latency counts from when they were due: nothing is left out by
    measuring only while the program is ready (coordinated omission).

    Args:
        call: Takes one input.
        inputs: In turn.
        rate_hz: Parts per second.
        iterations: Parts.
        deadline_ms: After arrival; default is the time between two parts.
        clock_ns: Monotonic clock; tests give their own.
        sleep: Takes seconds; tests give their own.
    """
    if not rate_hz > 0:
        raise UsageError("--rate", "above 0 parts per second", f"{rate_hz:g}", fix="--rate 10")
    period_ns = 1e9 / rate_hz
    deadline_ns = period_ns if deadline_ms is None else deadline_ms * _NS_PER_MS
    start_ns = clock_ns()
    samples_ns = []
    for i in range(iterations):
        due_ns = start_ns + round(i * period_ns)
        if (ahead_ns := due_ns - clock_ns()) > _SPIN_NS:
            sleep((ahead_ns - _SPIN_NS) / 1e9)
        while clock_ns() < due_ns:
            pass
        call(inputs[i % len(inputs)])
        samples_ns.append(clock_ns() - due_ns)
    return OpenLoop(
        samples_ms=tuple(ns / _NS_PER_MS for ns in samples_ns), late=sum(ns > deadline_ns for ns in samples_ns)
    )
