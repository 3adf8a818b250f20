"""When a generation on trial is committed, and when it goes: decided by what it does to real parts. Pure."""

from __future__ import annotations

import dataclasses
import threading

from edgetl_runtime.contract import Contract, Figures, judge, of_standing
from edgetl_runtime.errors import UsageError
from edgetl_runtime.proof import Standing

EXTENSION = 2000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialLimits:
    """When a trial ends.

    It ends when its seconds have passed and its decisions were made; a bound of the contract that so many decisions
    neither prove nor break makes it longer. It is looked at again and again meanwhile, so that a generation exactly at
    its p99 passes in 18 % of the cases instead of 5 %; one with twice as many late decisions in 0.3 %, one with half
    as many in 92 %.

    Attributes:
        seconds: Its shortest duration.
        inferences: And for at least so many decisions.
        extension: So many decisions more at most, until every bound is proved or broken.
        max_error_rate: Share of decisions that may fail.
        errors_in_a_row: So many failures one after the other end it at once.
        contract: The generation's; its bounds on latency are held.
        allow_unproven: A bound that is not proved at the trial's shortest end does not prevent a commit.
        deadline_ms: A decision later than this is a miss; None counts none.
        misses_in_a_row: So many misses one after the other end it at once.
    """

    seconds: float = 60.0
    inferences: int = 200
    extension: int = EXTENSION
    max_error_rate: float = 0.01
    errors_in_a_row: int = 3
    contract: Contract = dataclasses.field(default_factory=Contract)
    allow_unproven: bool = False
    deadline_ms: float | None = None
    misses_in_a_row: int = 10

    def __post_init__(self) -> None:
        if not self.seconds >= 0 or self.inferences < 1:
            got = f"{self.seconds} s and {self.inferences}"
            raise UsageError("a trial", "of 0 s or more and of one decision or more", got, fix="--trial-inferences 200")


class TrialWatch:
    """Counts what a generation on trial does; several threads may tell it.

    Args:
        limits: When the trial ends.
        start_s: Monotonic time at which the generation was ready.

    Attributes:
        inferences: Decisions, failed ones included.
        errors: Those of them that failed.
        refused: Images that could not be read; no decision, and no failure of the model.
    """

    def __init__(self, limits: TrialLimits, start_s: float) -> None:
        self.limits = limits
        self.start_s = start_s
        self.inferences = self.errors = self.refused = 0
        self._tallies = limits.contract.tallies()
        self._errors_in_a_row = self._misses_in_a_row = 0
        self._trouble: str | None = None  # what ends it at once; no later decision makes it good
        self._lock = threading.Lock()

    def record(self, latency_ms: float | None) -> None:
        """Count one decision; None is one that failed."""
        with self._lock:
            self.inferences += 1
            if latency_ms is None:
                self.errors += 1
                self._errors_in_a_row += 1
                if self._errors_in_a_row == self.limits.errors_in_a_row:
                    self._end(f"{self._errors_in_a_row} decisions in a row failed")
                return
            self._errors_in_a_row = 0
            for tally in self._tallies:
                tally.add([latency_ms])
            deadline_ms = self.limits.deadline_ms
            late = deadline_ms is not None and latency_ms > deadline_ms
            self._misses_in_a_row = self._misses_in_a_row + 1 if late else 0
            if late and self._misses_in_a_row == self.limits.misses_in_a_row:
                self._end(f"{self._misses_in_a_row} deadlines of {deadline_ms} ms in a row were missed")

    def refuse(self) -> None:
        """Count an image that could not be read."""
        with self._lock:
            self.refused += 1
            if self.refused >= self.limits.inferences and self.refused > self.inferences:
                images = self.refused + self.inferences  # the bundle's own preprocessing may be what refuses them
                self._end(f"{self.refused} of {images} images could not be read: nothing is proved")

    def _end(self, trouble: str) -> None:
        self._trouble = self._trouble or trouble

    def verdict(self, now_s: float) -> tuple[str, str] | None:
        """Return (`commit` or `rollback`, why), None while the trial goes on.

        Example:
            >>> watch = TrialWatch(TrialLimits(seconds=0, inferences=1), start_s=0.0)
            >>> watch.record(2.0)
            >>> watch.verdict(1.0)
            ('commit', '1 decisions in 1.0 s, 0 failed')
        """
        with self._lock:
            limits, elapsed_s = self.limits, now_s - self.start_s
            if self._trouble is not None:
                return "rollback", self._trouble
            if elapsed_s < limits.seconds or self.inferences < limits.inferences:
                return None
            if self.errors > limits.max_error_rate * self.inferences:
                return "rollback", f"{self.errors} of {self.inferences} decisions failed"
            return self._proved(f"{self.inferences} decisions in {elapsed_s:.1f} s, {self.errors} failed")

    def _proved(self, summary: str) -> tuple[str, str] | None:
        """Judge the bounds of the contract at the trial's end, or let it go on."""
        limits = self.limits
        latency = dataclasses.replace(limits.contract, max_memory_mb=None)
        terms = judge(latency, Figures.counted(self._tallies))
        kept, missed, unproven = (
            of_standing(terms, one) for one in (Standing.KEPT, Standing.MISSED, Standing.UNPROVEN)
        )
        if missed:
            return "rollback", "; ".join(missed)
        if unproven and not limits.allow_unproven:
            longest = limits.inferences + limits.extension
            return None if self.inferences < longest else ("rollback", "; ".join(unproven))
        allowed = [f"{words}, as was allowed" for words in unproven]
        return "commit", "; ".join([summary, *kept, *allowed])
