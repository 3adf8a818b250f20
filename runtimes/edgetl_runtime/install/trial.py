"""When a generation on trial is committed, and when it goes: decided by what it does to real parts. Pure."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING

from edgetl_runtime.errors import UsageError
from edgetl_runtime.measure import percentile

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_SAMPLES = 2000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialLimits:
    """When a trial ends.

    Attributes:
        seconds: It lasts at least so long.
        inferences: And for at least so many decisions.
        max_error_rate: Share of decisions that may fail.
        errors_in_a_row: So many failures one after the other end it at once.
        p99_ms: Contract: 99th percentile of a decision; None where it says nothing.
        deadline_ms: A decision later than this is a miss; None counts none.
        misses_in_a_row: So many misses one after the other end it at once.
    """

    seconds: float = 60.0
    inferences: int = 200
    max_error_rate: float = 0.01
    errors_in_a_row: int = 3
    p99_ms: float | None = None
    deadline_ms: float | None = None
    misses_in_a_row: int = 10

    def __post_init__(self) -> None:
        if self.seconds < 0 or self.inferences < 1:
            got = f"{self.seconds} s and {self.inferences}"
            raise UsageError("a trial", "of 0 s or more and of one decision or more", got, fix="--trial-inferences 200")


def limits_of(contract: Mapping[str, object], *, seconds: float = 60.0, inferences: int = 200) -> TrialLimits:
    """Return the limits that a bundle's contract gives."""
    p99 = contract.get("p99_ms")
    number = float(p99) if isinstance(p99, (int, float)) and not isinstance(p99, bool) else None
    return TrialLimits(seconds=seconds, inferences=inferences, p99_ms=number)


class TrialWatch:
    """Counts what a generation on trial does.

    Args:
        limits: When the trial ends.
        start_s: Monotonic time at which the generation was ready.
    """

    def __init__(self, limits: TrialLimits, start_s: float) -> None:
        self.limits = limits
        self.start_s = start_s
        self.inferences = self.errors = 0
        self._errors_in_a_row = self._misses_in_a_row = 0
        self._latencies_ms: collections.deque[float] = collections.deque(maxlen=KEPT_SAMPLES)

    def record(self, latency_ms: float | None) -> None:
        """Count one decision; None is one that failed."""
        self.inferences += 1
        if latency_ms is None:
            self.errors += 1
            self._errors_in_a_row += 1
            return
        self._errors_in_a_row = 0
        self._latencies_ms.append(latency_ms)
        late = self.limits.deadline_ms is not None and latency_ms > self.limits.deadline_ms
        self._misses_in_a_row = self._misses_in_a_row + 1 if late else 0

    def verdict(self, now_s: float) -> tuple[str, str] | None:
        """Return (`commit` or `rollback`, why), None while the trial goes on.

        Example:
            >>> watch = TrialWatch(TrialLimits(seconds=0, inferences=1), start_s=0.0)
            >>> watch.record(2.0)
            >>> watch.verdict(1.0)
            ('commit', '1 decisions in 1.0 s, 0 failed')
        """
        limits = self.limits
        if self._errors_in_a_row >= limits.errors_in_a_row:
            return "rollback", f"{self._errors_in_a_row} decisions in a row failed"
        if self._misses_in_a_row >= limits.misses_in_a_row:
            return "rollback", f"{self._misses_in_a_row} deadlines of {limits.deadline_ms} ms in a row were missed"
        elapsed_s = now_s - self.start_s
        if elapsed_s < limits.seconds or self.inferences < limits.inferences:
            return None
        if self.errors > limits.max_error_rate * self.inferences:
            return "rollback", f"{self.errors} of {self.inferences} decisions failed"
        p99_ms = percentile(sorted(self._latencies_ms), 99)
        if limits.p99_ms is not None and p99_ms is not None and p99_ms > limits.p99_ms:
            return "rollback", f"p99 of {p99_ms:.2f} ms > {limits.p99_ms:.2f}"
        return "commit", f"{self.inferences} decisions in {elapsed_s:.1f} s, {self.errors} failed"
