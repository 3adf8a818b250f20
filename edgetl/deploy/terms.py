"""Terms that only a measurement or enough parts can settle: kept, missed or unproven. Pure."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any

from edgetl import tasks as host_tasks
from edgetl.metrics import binomial_upper
from edgetl_runtime.errors import UnfitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgetl.deploy.contract import Contract, Judge

P99_SHARE = 0.01  # of the decisions that may be slower than the bound
NAMES = {"p50_ms": "p50", "p99_ms": "p99", "max_memory_mb": "memory"}
UNITS = {"p50_ms": " ms", "p99_ms": " ms", "max_memory_mb": " MB"}


class Standing(enum.Enum):
    """How a term of the contract ended."""

    KEPT = "kept"
    MISSED = "missed"
    UNPROVEN = "unproven"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One bound of the contract and what is known of it.

    Attributes:
        name: The contract's name of it, for instance `p99_ms`.
        bound: In the unit of its name.
        value: What was measured; None where nothing was.
        standing: Kept, missed or unproven.
        reason: Why it is unproven.
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
        name, unit = NAMES.get(self.name, self.name), UNITS.get(self.name, "")
        if self.standing is Standing.UNPROVEN:
            return f"{name} of at most {self.bound:g}{unit} ({self.reason})"
        return f"{name} {self.value:.2f}{unit} {'>' if self.standing is Standing.MISSED else '<='} {self.bound:.2f}"

    def to_mapping(self) -> dict[str, Any]:
        """Return the term as `deploy --json` and the bundle hold it."""
        return dataclasses.asdict(self) | {"standing": self.standing.value}


def measured_terms(
    contract: Contract, *, latency: Mapping[str, Any] | None, memory_mb: float | None, target: str
) -> tuple[Term, ...]:
    """Hold what was measured on the target against the bounds on latency and memory.

    Args:
        contract: The bounds; those that are None are no terms.
        latency: Figures of `edgetl.deploy.latency`; None where nothing was timed on the target.
        memory_mb: Peak resident memory on the target; None where it was not measured there.
        target: Its name, for the reason of what is unproven.
    """
    found = []
    missing = f"not measured on {target}"
    if contract.p50_ms is not None:
        found.append(_median(contract.p50_ms, latency, missing))
    if contract.p99_ms is not None:
        found.append(_p99(contract.p99_ms, latency, missing))
    if contract.max_memory_mb is not None:
        bound = contract.max_memory_mb
        standing = _standing(memory_mb, bound)
        reason = missing if memory_mb is None else ""
        found.append(Term(name="max_memory_mb", bound=bound, value=memory_mb, standing=standing, reason=reason))
    return tuple(found)


def _standing(value: float | None, bound: float) -> Standing:
    if value is None:
        return Standing.UNPROVEN
    return Standing.KEPT if value <= bound else Standing.MISSED  # NaN is not kept


def _median(bound: float, latency: Mapping[str, Any] | None, missing: str) -> Term:
    value = latency["decision_ms"]["p50"] if latency else None
    reason = f"{latency['n']} timings are too few" if latency else missing
    standing = _standing(value, bound)
    return Term(name="p50_ms", bound=bound, value=value, standing=standing, reason=reason if value is None else "")


def _p99(bound: float, latency: Mapping[str, Any] | None, missing: str) -> Term:
    """Judge a p99: missed where it lies above the bound, kept only where the count of slower decisions proves it.

    At most 1 % may be slower; Clopper and Pearson's bound (1934) shows it with 95 % confidence from 299 decisions
    without a slower one, from 473 with one.
    """
    if latency is None:
        return Term(name="p99_ms", bound=bound, value=None, standing=Standing.UNPROVEN, reason=missing)
    value, n = latency["decision_ms"]["p99"], latency["n"]
    slower = sum(ms > bound for ms in latency["slowest_ms"])
    upper = binomial_upper(slower, n)
    if value is not None and not value <= bound:
        standing, reason = Standing.MISSED, ""
    elif upper is not None and upper <= P99_SHARE:
        standing, reason = Standing.KEPT, ""
    else:
        standing, reason = Standing.UNPROVEN, f"{slower} of {n} timings were slower; more are needed to tell"
    return Term(name="p99_ms", bound=bound, value=value, standing=standing, reason=reason)


def untested_terms(against: Judge, counts: Mapping[str, Mapping[str, int]]) -> tuple[Term, ...]:
    """Return the bounds of a task that validation or test cannot tell, for want of such parts.

    Args:
        against: The contract of a run.
        counts: Split → class → images, as a run's `data` holds them.
    """
    task = host_tasks.get(against.task.name)
    return tuple(
        Term(name=name, bound=bound, value=None, standing=Standing.UNPROVEN, reason=f"{split} holds no {parts}")
        for split in ("val", "test")
        for name, bound, parts in task.untested(against.bounds, counts[split], against.labels)
    )


def unproven(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Return the terms that are neither kept nor missed."""
    return tuple(term for term in terms if term.standing is Standing.UNPROVEN)


def missed(terms: Sequence[Term]) -> tuple[str, ...]:
    """Return the clauses of the terms that are missed."""
    return tuple(term.clause for term in terms if term.standing is Standing.MISSED)


def standing_of(terms: Sequence[Term]) -> Standing:
    """Say how the contract ends for what was timed; unproven is what further turns could still prove."""
    if missed(terms):
        return Standing.MISSED
    open_terms = any(term.name in ("p50_ms", "p99_ms") and term.value is not None for term in unproven(terms))
    return Standing.UNPROVEN if open_terms else Standing.KEPT


def require_proof(terms: Sequence[Term], *, allowed: bool) -> None:
    """Refuse to go on with unproven terms unless that was allowed.

    Raises:
        UnfitError: A term is unproven.
    """
    if not allowed:
        refuse_unproven([term.clause for term in unproven(terms)])


def refuse_unproven(clauses: Sequence[str]) -> None:
    """Refuse to go on where there is a clause of an unproven term.

    Raises:
        UnfitError: There is one.
    """
    if clauses:
        fix = "--allow-unproven; latency and memory are then proven by the device when it installs"
        raise UnfitError("every term of the contract", "kept or missed for certain", "; ".join(clauses), fix=fix)
