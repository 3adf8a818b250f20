"""The contract (budget): what a candidate must keep, and the judgement of one candidate. Pure."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from edgetl_runtime import tasks
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import ContractError, UsageError
from edgetl_runtime.schema import alike, from_mapping, nearest
from edgetl_runtime.tasks.base import Bound, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
        >>> few, many = {"broken": 1, "drop_pp": 9.0, "flips": 9}, {"broken": 2, "drop_pp": 0.0, "flips": 0}
        >>> best_first([many, few]) == [few, many]
        True
    """
    return sorted(candidates, key=lambda c: (c["broken"], c["drop_pp"], c["flips"]))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A contract held against what one task counts.

    Attributes:
        contract: The bounds.
        task: Of the device.
        labels: What is decided about.
        bounds: The task's own, typed.
    """

    contract: Contract
    task: Task[Any, Any, Any]
    labels: Any
    bounds: Any

    @classmethod
    def of(cls, contract: Contract, *, task: str, labels: Any) -> Judge:  # noqa: ANN401  (the task's)
        """Return the judge of a run.

        Raises:
            UsageError: A term is another task's or nobody's, or a class is unknown.
        """
        half = tasks.get(task)
        own = [field.name for field in dataclasses.fields(half.bounds_type)]
        usual = [field.name for field in dataclasses.fields(Contract) if field.name != "of_task"]
        for name in contract.of_task:
            if name not in own:
                what = f"key '{name}' in the contract of a run for {task}"
                fix = nearest(name, own if alike(name, own) else [*usual, *own])
                raise UsageError(what, "a known key", "an unknown one", fix=fix)
        where = f"the contract of a run for {task}"
        bounds: Any = from_mapping(half.bounds_type, contract.of_task, where=where)
        half.check_bounds(bounds, labels)
        return cls(contract=contract, task=half, labels=labels, bounds=bounds)

    def breaches(self, figures: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
        """Say which terms a candidate breaks on one split.

        Args:
            figures: drop_pp, flips, n and what the task counts.
            reference: What the task counts of the float model on the same split.

        Returns:
            One clause per broken term; empty if the contract is kept.
        """
        return [bound.clause for bound in self._held(figures, reference) if bound.broken]

    def close_calls(self, figures: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
        """Say which terms a candidate would break with as many more flips as chance alone may add on other images.

        A count of flips is a draw; its standard error is its square root. What keeps a bound by less than that on
        validation will miss it on other images more often than once in six.

        Args:
            figures: As for `breaches`; `likely_flips` where more are to be expected elsewhere than were counted.
            reference: As for `breaches`.
        """
        expected = max(figures["flips"], figures.get("likely_flips", 0.0))
        return self.breaches({**figures, "flips": expected + math.sqrt(expected)}, reference)

    def _held(self, figures: Mapping[str, Any], reference: Mapping[str, Any]) -> Iterator[Bound]:
        one_pct = 100 / figures["n"]
        drop_pp = max(self.contract.max_drop_pp, one_pct)
        yield Bound(name="accuracy drop", value=float(figures["drop_pp"]), most=drop_pp, unit=" pp")
        flips_pct = max(self.contract.max_flips_pct, one_pct) if self.contract.max_flips_pct else 0.0
        yield Bound(name="flips", value=100 * figures["flips"] / figures["n"], most=flips_pct, unit=" %")
        yield from self.task.held(self.bounds, figures, reference)


def too_large(contract: Contract, *, size_bytes: int) -> tuple[str, ...]:
    """Say whether the file of a model breaks the contract.

    Example:
        >>> too_large(Contract(max_size_mb=3), size_bytes=3_600_000)
        ('model file 3.60 MB > 3.00',)
    """
    size_mb, bound = size_bytes / BYTES_PER_MB, contract.max_size_mb
    term = Bound(name="model file", value=size_mb, most=math.inf if bound is None else float(bound), unit=" MB")
    return (term.clause,) if term.broken else ()
