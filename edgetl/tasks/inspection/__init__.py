"""Inspection on the host: defects are told from good parts, at thresholds fitted to costs or to an escape rate."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.tasks import base, classes
from edgetl.tasks.inspection import labels as names
from edgetl.tasks.inspection import metrics, report, thresholds
from edgetl_runtime.errors import UsageError
from edgetl_runtime.tasks import softmax
from edgetl_runtime.tasks.inspection import NOK, OK, Bounds, Labels, Params, defect_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edgetl.tasks.base import Decided, Outputs, Point, Truth
    from edgetl_runtime.tasks.base import Decision

ESCAPE_COST = 5.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Aims:
    """What a training is asked for.

    Attributes:
        defect: Classes that are defects; None finds the good ones by their names.
        escape_cost: What an escape costs, in units of one overkill; None is 5.
        max_escape_rate: If given, the threshold keeps the escape rate on validation at or below this instead.
        unsure_band: Width of the band around the fitted threshold, in defect score, that is UNSURE; 0 leaves none.
    """

    defect: tuple[str, ...] | None = None
    escape_cost: float | None = None
    max_escape_rate: float | None = None
    unsure_band: float = 0.0

    def __post_init__(self) -> None:
        base.check_cost_or_rate(("--escape-cost", self.escape_cost), ("--max-escape-rate", self.max_escape_rate))
        band = self.unsure_band
        if not 0 <= band < 1:
            raise UsageError("--unsure-band", "from 0 to below 1", str(band), fix="--unsure-band 0.1")

    @property
    def cost(self) -> float:
        """What an escape costs, in units of one overkill."""
        return ESCAPE_COST if self.escape_cost is None else self.escape_cost


class Inspection(base.HostTask[Labels, Params, Aims]):
    """OK or NOK, at least cost."""

    name = "inspection"
    aims_type = Aims
    counts = (base.Count(key="escapes", of="n_defect"), base.Count(key="overkill", of="n_good"))
    gravest = "escapes first, then rejected good parts, then right verdicts with a wrong class"
    question = "Which are defects? Commas between them; {}:"
    answer = "defect"
    training_options = (
        base.option(
            "--defect",
            nargs="+",
            metavar="CLASS",
            help="the defect classes; default all but those named ok, good, …; asked for if names could mean either",
        ),
        base.option("--escape-cost", type=float, help="how many rejected good parts one escape is worth; default 5"),
        base.option(
            "--max-escape-rate",
            type=float,
            metavar="RATE",
            help="instead of --escape-cost: highest escape rate on validation, 0 to 1",
        ),
        base.option(
            "--unsure-band",
            type=float,
            metavar="WIDTH",
            help="width of a band of UNSURE around the fitted threshold, in defect score; default 0, no band",
        ),
    )
    contract_options = (
        base.option("--max-escapes", type=int, help="defective parts that pass; default one more than the float model"),
        base.option("--max-overkill", type=int, help="good parts that are rejected; default unlimited"),
        base.option("--max-escapes-of", nargs="+", metavar="CLASS=N", help="escapes of single defect classes"),
        base.option("--max-overkill-of", nargs="+", metavar="CLASS=N", help="overkill of single classes of good parts"),
    )

    def claims(self, classes: Sequence[str]) -> int:
        """Claim sets with a class that is, or may be, of good parts beside others."""
        kinds = [names.kind(name) for name in classes]
        return 3 if "either" in kinds or ("good" in kinds and set(kinds) != {"good"}) else 1

    def labels_for(self, classes: Sequence[str], aims: Aims) -> Labels:
        """Say which classes are defects, by choice or by name."""
        return Labels(classes=tuple(classes), defect_classes=names.defect_classes(classes, aims.defect))

    def in_words(self, labels: Labels) -> str:
        """Return which classes are good parts and which are defects.

        Example:
            >>> TASK.in_words(Labels(classes=("OK", "dent"), defect_classes=("dent",)))
            'good: OK; defects: dent'
        """
        good = [name for name in labels.classes if name not in labels.defect_classes]
        return f"good: {', '.join(good)}; defects: {', '.join(labels.defect_classes)}"

    def fit(self, outputs: Outputs, truth: Truth, labels: Labels, aims: Aims) -> Params:
        """Fit temperature, then the threshold of least cost."""
        logits = outputs[softmax.OUTPUT]
        temperature = classes.fit_temperature(logits, truth)
        cut = thresholds.fit_thresholds(
            _scores(logits, labels, temperature),
            metrics.is_defective(truth, labels),
            escape_cost=aims.cost,
            max_escape_rate=aims.max_escape_rate,
        )
        return Params(thresholds=thresholds.widened(cut, aims.unsure_band), temperature=temperature)

    def refits(
        self, reference: Decided, outputs: Outputs, truth: Truth, labels: Labels, aims: Aims
    ) -> Iterator[Params]:
        """Yield the float model's parameters, those carried over, and those of least cost.

        Nothing of the first was chosen on this candidate's scores, so that what it shows on validation holds for other
        images.
        """
        near: Params = reference.params
        yield near
        logits = outputs[softmax.OUTPUT]
        temperature = classes.refit_temperature(logits, truth, near=near.temperature)
        scores = _scores(logits, labels, temperature)
        carried = thresholds.carry_thresholds(
            scores,
            reference=defect_scores(reference.scores, labels.classes, labels.defect_classes),
            near=near.thresholds,
        )
        yield Params(thresholds=carried, temperature=temperature)
        fitted = thresholds.refit_thresholds(
            scores,
            metrics.is_defective(truth, labels),
            near=near.thresholds,
            reference=(reference.figures["escapes"], reference.figures["overkill"]),
            escape_cost=aims.cost,
            max_escape_rate=aims.max_escape_rate,
        )
        yield Params(thresholds=fitted, temperature=temperature)

    def evaluate(
        self,
        scores: NDArray[np.float64],
        decisions: Sequence[Decision],
        truth: Truth,
        labels: Labels,
        groups: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return the figures of classes, verdicts and defect scores."""
        words = np.array([d.verdict for d in decisions], np.str_)
        summed = defect_scores(scores, labels.classes, labels.defect_classes)
        table, right = self.verdict_counts(decisions, truth, labels)
        return {
            **metrics.of_verdicts(words, truth, labels, groups),
            **classes.evaluate_classes(scores, truth, labels.classes),
            "verdict_accuracy": right,
            "verdicts": table,
            "auroc": metrics.auroc(summed, metrics.is_defective(truth, labels)),
        }

    def likely_flips(self, reference: Decided, candidate: Decided, labels: Labels) -> float:
        """Count changed classes, and what crosses cuts near the fitted ones."""
        before, after = (
            defect_scores(one.scores, labels.classes, labels.defect_classes) for one in (reference, candidate)
        )
        same_verdict = reference.flips(candidate) & (reference.verdicts == candidate.verdicts)
        old, new = reference.params.thresholds, candidate.params.thresholds
        cuts = {(old.nok_at, new.nok_at), (old.ok_below, new.ok_below)}
        return float(same_verdict.sum()) + sum(classes.likely_crossings(before, after, cuts=two) for two in cuts)

    def worst(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """Let every defect escape."""
        return {"accuracy": 0.0, "escapes": figures["n_defect"], "overkill": 0}

    def untested(self, bounds: Bounds, counts: Mapping[str, int], labels: Labels) -> Iterator[tuple[str, float, str]]:
        """Yield bounds on kinds of parts that a split lacks."""
        defects = sum(counts[name] for name in labels.defect_classes)
        good = sum(counts.values()) - defects
        for name, n, parts in (("escapes", defects, "defect"), ("overkill", good, "good part")):
            most = getattr(bounds, f"max_{name}")
            if most is not None and not n:
                yield name, most, parts
            for one, most_of in getattr(bounds, f"max_{name}_of").items():
                if not counts[one]:
                    yield f"{name} of {one}", most_of, f"part of {one}"

    def statements(self, figures: Mapping[str, Any], *, split: str = "test") -> tuple[str, ...]:
        """Say what the defects and the good parts of a split can support."""
        return metrics.escape_statement(figures, split=split), metrics.overkill_statement(figures, split=split)

    def points(self, figures: Mapping[str, Any], aims: Aims) -> list[Point]:
        """Say what escapes, overkill and weak classes mean for shipping."""
        return report.points(figures, aims.max_escape_rate)

    def deployed_points(self, target: str, confirmed: Mapping[str, Any], figures: Mapping[str, Any]) -> list[Point]:
        """Say where a bundle lets more pass, or rejects too much."""
        return report.deployed_points(target, confirmed, figures)

    def mistake(self, labels: Labels, *, truth: str, answer: str, verdict: str) -> str:
        """Return `escape`, `overkill`, `wrong class`, or nothing for a right decision."""
        defective = truth in labels.defect_classes
        if defective and verdict == OK:
            return "escape"
        if not defective and verdict == NOK:
            return "overkill"
        return "wrong class" if answer != truth else ""

    def gravity(self, mistake: str, score: float, details: Mapping[str, float]) -> tuple[int, float]:
        """Sort escapes first, as they leave the plant; then rejected good parts; the surest lead."""
        sure = {"escape": details["defect_score"], "overkill": -details["defect_score"], "wrong class": -score}
        return list(sure).index(mistake), sure[mistake]

    def section(self, run: Any, rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:  # noqa: ANN401  (edgetl.run.Run)
        """Return escapes, overkill, thresholds and the plots of defect scores."""
        return report.section(run, self.aims(run.aims), rows)


def _scores(logits: NDArray[np.float32], labels: Labels, temperature: float) -> NDArray[np.float64]:
    return defect_scores(softmax.probabilities(logits, temperature), labels.classes, labels.defect_classes)


TASK = Inspection()
