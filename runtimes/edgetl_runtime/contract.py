"""The contract that a model must keep, and the one judge of what was measured. Pure."""

from __future__ import annotations

import copy
import dataclasses
import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UsageError
from edgetl_runtime.proof import Standing, standing
from edgetl_runtime.tasks.base import check_bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Measured(enum.Enum):
    """What is measured and not counted by a task; the value is the contract's name of its bound."""

    P50 = "p50_ms"
    P99 = "p99_ms"
    MEMORY = "max_memory_mb"


_PERCENT = {Measured.P50: 50, Measured.P99: 99}
_NAMES = {"p50_ms": "p50", "p99_ms": "p99", "max_memory_mb": "memory"}
_UNITS = {"p50_ms": " ms", "p99_ms": " ms", "max_memory_mb": " MB"}


@dataclasses.dataclass(frozen=True, slots=True, init=False)
class Contract:
    """Bounds on a model; None leaves a term out.

    Attributes:
        max_drop_pp: Largest loss of accuracy against the float model, in percentage points. A single image is never a
            breach: it is the resolution of the split.
        max_flips_pct: Largest share of images whose decision differs from the float model's, in per cent. A single
            image is a breach only where the bound is 0.
        p50_ms: Largest median of the time from encoded image to decision, in milliseconds.
        p99_ms: Largest 99th percentile of that time.
        max_memory_mb: Largest resident memory of the deciding process, in megabytes.
        max_size_mb: Largest file of a candidate's model, in megabytes of 10^6 bytes.
        of_task: Terms of the task by name; what they mean is checked where the task is known.

    Args:
        max_drop_pp: As above, and so on.
        of_task: As above.
        terms: Terms of the task, each under its own name.

    Raises:
        UsageError: A bound is negative or no finite number.

    Example:
        >>> Contract(p99_ms=8, max_escapes=2).of_task
        {'max_escapes': 2}
    """

    max_drop_pp: float = 0.5
    max_flips_pct: float = 2.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_memory_mb: float | None = None
    max_size_mb: float | None = None
    of_task: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __init__(
        self,
        *,
        max_drop_pp: float = 0.5,
        max_flips_pct: float = 2.0,
        p50_ms: float | None = None,
        p99_ms: float | None = None,
        max_memory_mb: float | None = None,
        max_size_mb: float | None = None,
        of_task: Mapping[str, Any] | None = None,
        **terms: Any,  # noqa: ANN401  (the task's)
    ) -> None:
        values = {
            "max_drop_pp": max_drop_pp,
            "max_flips_pct": max_flips_pct,
            "p50_ms": p50_ms,
            "p99_ms": p99_ms,
            "max_memory_mb": max_memory_mb,
            "max_size_mb": max_size_mb,
        }
        for name, value in values.items():
            check_bound(name, value, needed=name in ("max_drop_pp", "max_flips_pct"))
            object.__setattr__(self, name, value)
        if of_task is not None and not isinstance(of_task, Mapping):
            raise UsageError("of_task", "a mapping of terms", f"{of_task!r:.40}", fix="of_task={}")
        given = copy.deepcopy({**(of_task or {}), **terms})  # whoever changes theirs later does not change this
        object.__setattr__(self, "of_task", {name: value for name, value in given.items() if value is not None})

    @property
    def bounds_latency(self) -> bool:
        """Whether a latency can break it."""
        return self.p50_ms is not None or self.p99_ms is not None

    def tallies(self) -> tuple[Tally, ...]:
        """Return an empty tally of each bound on a latency."""
        bounds = ((what, getattr(self, what.value)) for what in _PERCENT)
        return tuple(Tally(what=what, bound_ms=bound) for what, bound in bounds if bound is not None)


@dataclasses.dataclass(slots=True, kw_only=True)
class Tally:
    """Decisions counted against one bound on a latency.

    Attributes:
        what: The median or the 99th percentile.
        bound_ms: Of the contract.
        n: Decisions so far.
        over: Those of them that took longer.

    Example:
        >>> (tally,) = Contract(p99_ms=10).tallies()
        >>> tally.add([12.5] * 200)
        >>> tally.over, tally.standing
        (200, <Standing.MISSED: 'missed'>)
    """

    what: Measured
    bound_ms: float
    n: int = 0
    over: int = 0

    def add(self, latencies_ms: Iterable[float]) -> None:
        """Count decisions; one whose latency is not a number took longer."""
        for latency_ms in latencies_ms:
            self.n += 1
            self.over += not latency_ms <= self.bound_ms

    @property
    def standing(self) -> Standing:
        """Return what was shown so far."""
        return standing(self.n, self.over, _PERCENT[self.what])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What is known of one percentile of the time from encoded image to decision.

    Attributes:
        value_ms: As measured; where it is known it must keep the bound itself, however few were counted.
        n: Decisions that were timed.
        over: Those of them that took longer than the contract's bound; None where nobody counted.
    """

    value_ms: float | None = None
    n: int = 0
    over: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured of a model on one machine; None stands for what was not.

    Attributes:
        p50: Median of a decision.
        p99: 99th percentile of the same.
        memory_mb: Peak of the deciding process.
        least_memory_mb: It took at least so much, where the peak is not known.
        why_untimed: Said of a latency that is not known.
        why_no_memory: Said of a peak that is not known.
    """

    p50: Latency | None = None
    p99: Latency | None = None
    memory_mb: float | None = None
    least_memory_mb: float = 0.0
    why_untimed: str = "not measured"
    why_no_memory: str = "not measured"

    @classmethod
    def counted(cls, tallies: Iterable[Tally], **memory: Any) -> Figures:  # noqa: ANN401  (fields of this class)
        """Return figures of which only counts are known, and what is known of the memory."""
        known = {tally.what: Latency(n=tally.n, over=tally.over) for tally in tallies}
        return cls(p50=known.get(Measured.P50), p99=known.get(Measured.P99), **memory)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One bound of a contract and what is known of it.

    Attributes:
        name: The contract's name of it, for instance `p99_ms`.
        bound: In the unit of its name.
        value: What was measured; None where nothing was, or only counted.
        standing: Kept, missed or unproven.
        reason: Why it is unproven, or what was counted.
    """

    name: str
    bound: float
    value: float | None
    standing: Standing
    reason: str = ""

    @property
    def clause(self) -> str:
        """Return the term in words, with what speaks against it.

        Example:
            >>> Term(name="p99_ms", bound=8, value=9.5, standing=Standing.MISSED).clause
            'p99 9.50 ms > 8.00'
            >>> Term(name="p99_ms", bound=8, value=None, standing=Standing.UNPROVEN, reason="not measured").clause
            'p99 of at most 8 ms (not measured)'
        """
        name, unit = _NAMES.get(self.name, self.name), _UNITS.get(self.name, "")
        if self.standing is Standing.UNPROVEN:
            return f"{name} of at most {self.bound:.9g}{unit} ({self.reason})"
        if self.value is None:
            return f"{name} of {self.bound:.9g}{unit} {self.standing.value}: {self.reason}"
        return f"{name} {self.value:.2f}{unit} {'>' if self.standing is Standing.MISSED else '<='} {self.bound:.2f}"

    def to_mapping(self) -> dict[str, Any]:
        """Return the term as `deploy --json` and the bundle hold it."""
        return dataclasses.asdict(self) | {"standing": self.standing.value}


def judge(contract: Contract, figures: Figures) -> tuple[Term, ...]:
    """Hold what was measured against the bounds of a contract on latency and memory.

    What was counted is judged by the exact binomial of `edgetl_runtime.proof`; what nobody measured is unproven.

    Args:
        contract: The bounds; those that are None are no terms. Those on decisions are the task's to judge, that on the
            size of a file is settled where the file is made.
        figures: Of the machine that the contract speaks of.

    Example:
        >>> figures = Figures(p99=Latency(n=300, over=1), memory_mb=180.0)
        >>> [term.clause for term in judge(Contract(p99_ms=8, max_memory_mb=200), figures)]
        ['p99 of at most 8 ms (1 of 300 decisions took longer; more are needed to tell)', 'memory 180.00 MB <= 200.00']
    """
    return tuple(_terms(contract, figures))


def _terms(contract: Contract, figures: Figures) -> Iterator[Term]:
    for what, latency in ((Measured.P50, figures.p50), (Measured.P99, figures.p99)):
        bound_ms = getattr(contract, what.value)
        if bound_ms is not None:
            yield _of_latency(what, bound_ms, latency or Latency(), figures.why_untimed)
    bound_mb, peak_mb = contract.max_memory_mb, figures.memory_mb
    if bound_mb is not None:
        if peak_mb is None and not figures.least_memory_mb <= bound_mb:
            peak_mb = figures.least_memory_mb  # whatever else it took
        found = by_value(peak_mb, bound_mb)
        reason = figures.why_no_memory if found is Standing.UNPROVEN else ""
        yield Term(name=Measured.MEMORY.value, bound=bound_mb, value=peak_mb, standing=found, reason=reason)


def _of_latency(what: Measured, bound_ms: float, latency: Latency, why_not: str) -> Term:
    value, n, over = latency.value_ms, latency.n, latency.over
    found, reason = by_value(value, bound_ms), ""
    if over is not None and found is not Standing.MISSED:
        found = standing(n, over, _PERCENT[what])
        reason = f"{over} of {n} decisions took longer" if value is None or found is Standing.UNPROVEN else ""
    if found is Standing.UNPROVEN:
        reason = f"{reason}; more are needed to tell" if reason else f"{n} timings are too few" if n else why_not
    return Term(name=what.value, bound=bound_ms, value=value, standing=found, reason=reason)


def by_value(value: float | None, bound: float) -> Standing:
    """Say how a bound stands by what was measured; None was not.

    Example:
        >>> [by_value(value, 8).value for value in (7.9, 8.1, float("nan"), None)]
        ['kept', 'missed', 'missed', 'unproven']
    """
    if value is None:
        return Standing.UNPROVEN
    return Standing.KEPT if value <= bound else Standing.MISSED  # NaN is not kept


def of_standing(terms: Sequence[Term], wanted: Standing) -> list[str]:
    """Return the clauses of the terms that stand so.

    Example:
        >>> of_standing(judge(Contract(p99_ms=8), Figures()), Standing.UNPROVEN)
        ['p99 of at most 8 ms (not measured)']
    """
    return [term.clause for term in terms if term.standing is wanted]
