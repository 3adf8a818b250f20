"""Terms that only a measurement or enough parts can settle: kept, missed or unproven. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl import tasks as host_tasks
from edgetl_runtime.contract import Figures, Latency, Term, judge, of_standing
from edgetl_runtime.errors import UnfitError
from edgetl_runtime.proof import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgetl.deploy.contract import Judge
    from edgetl_runtime.contract import Contract


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
    missing = f"not measured on {target}"
    p50, p99 = _percentiles(contract, latency) if latency is not None else (None, None)
    return judge(contract, Figures(p50=p50, p99=p99, memory_mb=memory_mb, why_untimed=missing, why_no_memory=missing))


def _percentiles(contract: Contract, latency: Mapping[str, Any]) -> tuple[Latency, Latency]:
    """Return p50 and p99; of the slowest decisions so many are known that those over a p99 that holds are counted."""
    n, values = latency["n"], latency["decision_ms"]
    over = None if contract.p99_ms is None else sum(not ms <= contract.p99_ms for ms in latency["slowest_ms"])
    return Latency(value_ms=values["p50"], n=n), Latency(value_ms=values["p99"], n=n, over=over)


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


def standing_of(terms: Sequence[Term]) -> Standing:
    """Say how the contract ends for what was timed; unproven is what further turns could still prove."""
    if of_standing(terms, Standing.MISSED):
        return Standing.MISSED
    open_terms = any(term.name in ("p50_ms", "p99_ms") and term.value is not None for term in unproven(terms))
    return Standing.UNPROVEN if open_terms else Standing.KEPT


def require_proof(terms: Sequence[Term], *, allowed: bool) -> None:
    """Refuse to go on with unproven terms unless that was allowed.

    Raises:
        UnfitError: A term is unproven.
    """
    if not allowed:
        refuse_unproven(of_standing(terms, Standing.UNPROVEN))


def refuse_unproven(clauses: Sequence[str]) -> None:
    """Refuse to go on where there is a clause of an unproven term.

    Raises:
        UnfitError: There is one.
    """
    if clauses:
        fix = "--allow-unproven; latency and memory are then proven by the device when it installs"
        raise UnfitError("every term of the contract", "kept or missed for certain", "; ".join(clauses), fix=fix)
