"""The contract (budget): what a candidate must keep, and the judgement of one candidate. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Bounds on a candidate; None leaves a term out.

    Attributes:
        max_drop_pp: Largest loss of accuracy against the float model, in percentage points. A single image is never a
            breach: it is the resolution of the split.
        max_flips_pct: Largest share of images whose decision differs from the float model's, in per cent. A single
            image is a breach only where the bound is 0.
        max_escapes: Largest number of escapes; None allows one more than the float model has.
        max_overkill: Largest number of good parts rejected.
        p99_ms: Largest 99th percentile of the time from encoded image to decision, in milliseconds.
        max_memory_mb: Largest resident memory of the deciding process, in megabytes.
    """

    max_drop_pp: float = 0.5
    max_flips_pct: float = 2.0
    max_escapes: int | None = None
    max_overkill: int | None = None
    p99_ms: float | None = None
    max_memory_mb: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not value >= 0:
                option = "--" + field.name.replace("_", "-")
                raise UsageError(option, "0 or above", str(value), fix=f"{option} {field.default or 1}")


def breaches(contract: Contract, candidate: Mapping[str, Any], float_escapes: int) -> list[str]:
    """Say which terms a candidate breaks on one split.

    Args:
        contract: The bounds.
        candidate: drop_pp, flips, n, escapes and overkill of the candidate; p99_ms and memory_mb where measured.
        float_escapes: Escapes of the float model on the same split.

    Returns:
        One clause per broken term; empty if the contract is kept.

    Example:
        >>> figures = {"drop_pp": 1.0, "flips": 0, "n": 200, "escapes": 0, "overkill": 0}
        >>> breaches(Contract(), figures, float_escapes=0)
        ['accuracy drop 1.00 pp > 0.50']
    """
    n = candidate["n"]
    max_escapes = contract.max_escapes if contract.max_escapes is not None else float_escapes + 1
    flips_pct = 100 * candidate["flips"] / n
    terms = [
        ("accuracy drop", candidate["drop_pp"], max(contract.max_drop_pp, 100 / n), " pp"),
        ("flips", flips_pct, max(contract.max_flips_pct, 100 / n) if contract.max_flips_pct else 0.0, " %"),
        ("escapes", candidate["escapes"], max_escapes, ""),
        ("overkill", candidate["overkill"], contract.max_overkill, ""),
        ("p99", candidate.get("p99_ms"), contract.p99_ms, " ms"),
        ("memory", candidate.get("memory_mb"), contract.max_memory_mb, " MB"),
    ]
    return [
        _clause(*term) for term in terms if term[1] is not None and term[2] is not None and term[1] > term[2] + 1e-9
    ]


def too_slow(contract: Contract, latency: Mapping[str, Any]) -> tuple[str, ...]:
    """Say whether measured latencies break the contract; a p99 that could not be measured does.

    Args:
        contract: The bounds.
        latency: Figures of `edgetl.deploy.latency`: `n`, and `decision_ms` with a `p99` that is None for a small n.
    """
    p99_ms = latency["decision_ms"]["p99"]
    if contract.p99_ms is None or (p99_ms is not None and p99_ms <= contract.p99_ms):
        return ()
    if p99_ms is None:
        return (f"p99 not known from {latency['n']} timings, it must be at most {contract.p99_ms:.2f} ms",)
    return (_clause("p99", p99_ms, contract.p99_ms, " ms"),)


def _clause(name: str, value: float, bound: float, unit: str) -> str:
    if isinstance(value, int) and isinstance(bound, int):
        return f"{name} {value}{unit} > {bound}"
    return f"{name} {value:.2f}{unit} > {bound:.2f}"
