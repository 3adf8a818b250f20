"""Sorting on the host: every part gets a class, or UNSURE below a probability fitted to a cost or an error rate."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.metrics import binomial_upper
from edgetl.tasks import base, classes
from edgetl.tasks.sorting import report
from edgetl_runtime.tasks import softmax
from edgetl_runtime.tasks.sorting import UNSURE, Bounds, Labels, Params, pair_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edgetl.tasks.base import Decided, Outputs, Point, Truth
    from edgetl_runtime.tasks.base import Decision

ERROR_COST = 5.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Aims:
    """What a training is asked for.

    Attributes:
        error_cost: What a part in a wrong class costs, in units of one part that is UNSURE; None is 5.
        max_error_rate: If given, the least UNSURE at which at most this share of the sorted parts of validation is in a
            wrong class, 0 to 1.
    """

    error_cost: float | None = None
    max_error_rate: float | None = None

    def __post_init__(self) -> None:
        base.check_cost_or_rate(("--error-cost", self.error_cost), ("--max-error-rate", self.max_error_rate))

    @property
    def cost(self) -> float:
        """What an error costs, in units of one UNSURE part."""
        return ERROR_COST if self.error_cost is None else self.error_cost


class Sorting(base.HostTask[Labels, Params, Aims]):
    """A class for every part, or UNSURE."""

    name = "sorting"
    aims_type = Aims
    counts = (base.Count(key="errors"), base.Count(key="unsure"))
    gravest = "parts sorted into a wrong class first, then UNSURE ones, the surest leading"
    training_options = (
        base.option(
            "--error-cost", type=float, help="how many UNSURE parts one part in a wrong class is worth; default 5"
        ),
        base.option(
            "--max-error-rate",
            type=float,
            metavar="RATE",
            help="instead of --error-cost: highest share of wrong classes among sorted parts of validation",
        ),
    )
    contract_options = (
        base.option(
            "--max-errors", type=int, help="sorting: parts in a wrong class; default one more than the float model"
        ),
        base.option("--max-unsure-pct", type=float, help="sorting: share of UNSURE parts; default unlimited"),
        base.option(
            "--max-confused", nargs="+", metavar="A:B=N", help="sorting: parts of class A that are sorted into B"
        ),
    )

    def claims(self, classes: Sequence[str]) -> int:
        """Claim what nobody else does."""
        return 2

    def labels_for(self, classes: Sequence[str], aims: Aims) -> Labels:
        """Take all classes as they are."""
        return Labels(classes=tuple(classes))

    def in_words(self, labels: Labels) -> str:
        """Return the classes.

        Example:
            >>> TASK.in_words(Labels(classes=("m3", "m4")))
            'sorting into: m3, m4'
        """
        return f"sorting into: {', '.join(labels.classes)}"

    def instead(self) -> str:
        """Say how to name the defects, which the classes' names do not tell."""
        return (
            "no class alone is named like good parts, so every part gets a class or UNSURE; "
            "if some are defects and others good parts, say --defect CLASS…, naming the defects"
        )

    def fit(self, outputs: Outputs, truth: Truth, labels: Labels, aims: Aims) -> Params:
        """Fit temperature, then the least probability that is sorted."""
        logits = outputs[softmax.OUTPUT]
        return _fitted(logits, truth, classes.fit_temperature(logits, truth), aims)

    def refits(
        self,
        reference: Decided,
        outputs: Outputs,
        truth: Truth,
        labels: Labels,
        aims: Aims,
    ) -> Iterator[Params]:
        """Yield the float model's parameters, then those of the candidate's own temperature, then fitted ones."""
        near: Params = reference.params
        yield near
        logits = outputs[softmax.OUTPUT]
        temperature = classes.refit_temperature(logits, truth, near=near.temperature)
        if temperature != near.temperature:
            yield dataclasses.replace(near, temperature=temperature)
        yield _fitted(logits, truth, temperature, aims)

    def evaluate(
        self,
        scores: NDArray[np.float64],
        decisions: Sequence[Decision],
        truth: Truth,
        labels: Labels,
        groups: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return the figures of classes and of what was sorted."""
        names = [labels.classes[index] for index in truth.tolist()]
        table, right = self.verdict_counts(decisions, truth, labels)
        counts = self.device.count(labels, truth=names, found=decisions)
        by_group = np.array(groups or range(len(truth)))
        verdicts = np.array([d.verdict for d in decisions], np.str_)
        placed = verdicts != UNSURE
        wrong = placed & (verdicts != np.array(names))
        events, trials = (len(np.unique(by_group[which])) for which in (wrong, placed))
        return {
            **classes.evaluate_classes(scores, truth, labels.classes),
            **counts,
            "verdict_accuracy": right,
            "verdicts": table,
            "n_sorted": int(placed.sum()),
            "n_sorted_groups": trials,
            "error_groups": events,
            "error_rate_upper95": binomial_upper(events, trials),
        }

    def likely_flips(self, reference: Decided, candidate: Decided, labels: Labels) -> float:
        """Count changed classes, and what crosses bounds near the fitted ones."""
        cuts = reference.params.unsure_below, candidate.params.unsure_below
        changed = float((reference.answers != candidate.answers).sum())
        if not any(cuts):
            return changed
        return changed + classes.likely_crossings(reference.scores.max(axis=1), candidate.scores.max(axis=1), cuts=cuts)

    def worst(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """Sort every part wrongly."""
        return {"accuracy": 0.0, "errors": figures["n"], "unsure": 0}

    def untested(self, bounds: Bounds, counts: Mapping[str, int], labels: Labels) -> Iterator[tuple[str, float, str]]:
        """Yield bounds on pairs of classes of which a split lacks the first."""
        for pair, most in bounds.max_confused.items():
            truth, answer = pair_of(pair, labels.classes)
            if not counts[truth]:
                yield f"{truth} sorted as {answer}", most, f"part of {truth}"

    def statements(self, figures: Mapping[str, Any], *, split: str = "test") -> tuple[str, ...]:
        """Say what the sorted parts of a split can support."""
        return (report.statement(figures, split=split),)

    def points(self, figures: Mapping[str, Any], aims: Aims) -> list[Point]:
        """Say what errors, UNSURE parts and weak classes mean for shipping."""
        return report.points(figures, aims.max_error_rate)

    def deployed_points(self, target: str, confirmed: Mapping[str, Any], figures: Mapping[str, Any]) -> list[Point]:
        """Say where a bundle sorts more parts wrongly than the float model."""
        return report.deployed_points(target, confirmed, figures)

    def mistake(self, labels: Labels, *, truth: str, answer: str, verdict: str) -> str:
        """Return `wrong class`, `unsure`, or nothing for a right decision."""
        return "" if verdict == truth else "unsure" if verdict == UNSURE else "wrong class"

    def gravity(self, mistake: str, score: float, details: Mapping[str, float]) -> tuple[int, float]:
        """Sort wrong classes first, the surest leading."""
        return ("wrong class", "unsure").index(mistake), -score

    def section(self, run: Any, rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:  # noqa: ANN401
        """Return errors, UNSURE parts and the bound."""
        return report.section(run, self.aims(run.aims))


def _fitted(logits: NDArray[np.float32], truth: Truth, temperature: float, aims: Aims) -> Params:
    probs = softmax.probabilities(logits, temperature)
    right = probs.argmax(axis=1) == truth
    return Params(unsure_below=fit_bound(probs.max(axis=1), right, aims), temperature=temperature)


def fit_bound(confidence: NDArray[np.float64], right: NDArray[np.bool_], aims: Aims) -> float:
    """Choose the probability below which a part is UNSURE.

    Args:
        confidence: Probability of the most probable class, float (N,), 0 to 1.
        right: Whether that is the true one, bool (N,).
        aims: Cost of an error, or the largest share of them.

    Returns:
        0 where sorting every part is best; else the middle of the widest of the equally good gaps between two
        neighbouring probabilities.

    Example:
        >>> fit_bound(np.array([0.5, 0.6, 0.9]), np.array([False, True, True]), Aims(max_error_rate=0.0))
        0.55
    """
    order = np.argsort(confidence, kind="stable")
    levels, wrong = confidence[order], ~right[order]
    n = len(levels)
    unsure = np.arange(n + 1)  # as many of the least sure
    errors = wrong.sum() - np.concatenate([[0], np.cumsum(wrong)])
    edges = np.concatenate([[0.0], levels, [1.0]])
    cost = aims.cost * errors + unsure
    if aims.max_error_rate is not None:
        kept = errors <= np.floor(aims.max_error_rate * (n - unsure) + 1e-9)
        cost = np.where(kept, unsure, n + 1 + errors)  # of parts that are certain, errors stay: then the fewest
    gaps = np.diff(edges)
    apart = gaps > 0  # equal probabilities are sorted, or not, together
    apart[0] = True
    best = np.flatnonzero((cost == cost[apart].min()) & apart)
    which = best[gaps[best].argmax()]
    return 0.0 if which == 0 else float((edges[which] + edges[which + 1]) / 2)


TASK = Sorting()
