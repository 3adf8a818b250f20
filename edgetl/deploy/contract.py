"""The contract (budget): what a candidate must keep, and the judgement of one candidate. Pure."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import ContractError, UsageError
from edgetl_runtime.schema import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BYTES_PER_MB = 1e6


class UnmetContractError(ContractError):
    """No candidate keeps the contract; carries all that were tried, so that a person sees by how much.

    Args:
        what: See `EdgetlError`.
        must: Likewise.
        got: Likewise.
        fix: Likewise.
        candidates: Figures of every candidate, as `deploy --json` prints them, best first.
        confirmed: Figures of the chosen candidate on test, if it came that far.
    """

    def __init__(
        self,
        what: str,
        must: str,
        got: str,
        *,
        fix: str,
        candidates: list[dict[str, Any]],
        confirmed: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what, must, got, fix=fix)
        self.candidates, self.confirmed = best_first(candidates), confirmed

    def to_mapping(self) -> dict[str, Any]:
        """Return the `error` object of `--json`; its type is the one that the exit code stands for."""
        said = super().to_mapping() | {"type": ContractError.__name__}
        return said | {"candidates": self.candidates, "confirmed": self.confirmed}


def best_first(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order candidates by what they break: fewest terms, then least drop, then fewest flips.

    Example:
        >>> few, many = {"why": "a", "drop_pp": 9.0, "flips": 9}, {"why": "a; b", "drop_pp": 0.0, "flips": 0}
        >>> best_first([many, few]) == [few, many]
        True
    """
    return sorted(candidates, key=lambda c: (len(c["why"].split("; ")) if c["why"] else 0, c["drop_pp"], c["flips"]))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClassBounds:
    """Bounds on the parts of one class; None leaves a term out.

    Attributes:
        max_escapes: Largest number of its parts that pass; for defect classes.
        max_overkill: Largest number of its parts that are rejected; for classes of good parts.
    """

    max_escapes: int | None = None
    max_overkill: int | None = None


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
        p50_ms: Largest median of the time from encoded image to decision, in milliseconds.
        p99_ms: Largest 99th percentile of that time.
        max_memory_mb: Largest resident memory of the deciding process, in megabytes.
        max_size_mb: Largest file of a candidate's model, in megabytes of 10^6 bytes.
        per_class: Bounds on single classes, by name.

    Example:
        >>> Contract(max_escapes=2, per_class={"crack": ClassBounds(max_escapes=0)}).per_class["crack"].max_escapes
        0
    """

    max_drop_pp: float = 0.5
    max_flips_pct: float = 2.0
    max_escapes: int | None = None
    max_overkill: int | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_memory_mb: float | None = None
    max_size_mb: float | None = None
    per_class: dict[str, ClassBounds] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for option, value, example in self._bounds():
            if value is not None and not value >= 0:
                raise UsageError(option, "0 or above", str(value), fix=f"{option} {example}")

    def _bounds(self) -> Iterator[tuple[str, float | None, str]]:
        """Yield every bound as (option, value, a value that would do)."""
        for field in dataclasses.fields(self):
            if field.name != "per_class":
                yield _option(field.name), getattr(self, field.name), str(field.default or 1)
        for name, bounds in self.per_class.items():
            for field in dataclasses.fields(bounds):
                yield f"{_option(field.name)}-of {name}", getattr(bounds, field.name), "1"

    @property
    def bounds_latency(self) -> bool:
        """Whether a latency can break it."""
        return self.p50_ms is not None or self.p99_ms is not None

    def check_classes(self, classes: Sequence[str], defect_classes: Sequence[str]) -> None:
        """Refuse bounds on classes that the model does not have, or that cannot be broken.

        Raises:
            UsageError: A class is unknown, or a bound on escapes is put on good parts, or on overkill on defects.
        """
        for name, bounds in self.per_class.items():
            defect = name in defect_classes
            if name not in classes:
                # a bound on escapes is never put on good parts by advice, nor one on overkill on defects
                wanted = [c for c in classes if (c in defect_classes) == (bounds.max_escapes is not None)]
                raise UsageError("a class of the contract", "one of the run's", f"'{name}'", fix=nearest(name, wanted))
            if bounds.max_escapes is not None and not defect:
                raise UsageError(f"--max-escapes-of {name}", "on a defect class", "good parts", fix="--max-overkill-of")
            if bounds.max_overkill is not None and defect:
                raise UsageError(f"--max-overkill-of {name}", "on good parts", "a defect class", fix="--max-escapes-of")


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")


def breaches(contract: Contract, candidate: Mapping[str, Any], float_escapes: int) -> list[str]:
    """Say which terms a candidate breaks on one split.

    Args:
        contract: The bounds.
        candidate: drop_pp, flips, n, escapes and overkill of the candidate; escapes_per_class and overkill_per_class
            where classes are bounded.
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
        *_class_terms(contract, candidate),
    ]
    return [
        _clause(*term) for term in terms if term[1] is not None and term[2] is not None and term[1] > term[2] + 1e-9
    ]


def close_calls(contract: Contract, candidate: Mapping[str, Any], float_escapes: int) -> list[str]:
    """Say which terms a candidate would break with as many more flips as chance alone may add on other images.

    A count of flips is a draw; its standard error is its square root. What keeps a bound by less than that on
    validation will miss it on other images more often than once in six.

    Args:
        contract: The bounds.
        candidate: As for `breaches`; `likely_flips` where more flips are to be expected elsewhere than were counted.
        float_escapes: Escapes of the float model on the same split.

    Example:
        >>> figures = {"drop_pp": 0.0, "flips": 5, "n": 300, "escapes": 0, "overkill": 0}
        >>> close_calls(Contract(max_flips_pct=2.0), figures, float_escapes=0)
        ['flips 2.41 % > 2.00']
    """
    expected = max(candidate["flips"], candidate.get("likely_flips", 0.0))
    unlucky = {**candidate, "flips": expected + math.sqrt(expected)}
    return breaches(contract, unlucky, float_escapes)


def _class_terms(contract: Contract, candidate: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, str]]:
    for name, bounds in contract.per_class.items():
        yield f"escapes of {name}", candidate.get("escapes_per_class", {}).get(name), bounds.max_escapes, ""
        yield f"overkill of {name}", candidate.get("overkill_per_class", {}).get(name), bounds.max_overkill, ""


def too_large(contract: Contract, *, size_bytes: int) -> tuple[str, ...]:
    """Say whether the file of a model breaks the contract.

    Example:
        >>> too_large(Contract(max_size_mb=3), size_bytes=3_600_000)
        ('model file 3.60 MB > 3.00',)
    """
    size_mb, bound = size_bytes / BYTES_PER_MB, contract.max_size_mb
    return (_clause("model file", size_mb, bound, " MB"),) if bound is not None and size_mb > bound else ()


def _clause(name: str, value: float, bound: float, unit: str) -> str:
    if isinstance(value, int) and isinstance(bound, int):
        return f"{name} {value}{unit} > {bound}"
    return f"{name} {value:.2f}{unit} > {bound:.2f}"
