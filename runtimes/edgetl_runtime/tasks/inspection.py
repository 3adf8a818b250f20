"""Inspection: every part is OK or NOK, by the summed probability of the defect classes, or UNSURE between the two."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime.errors import UsageError
from edgetl_runtime.tasks import base, softmax

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

OK, NOK, UNSURE = "OK", "NOK", "UNSURE"
# defect scores are sums, and rounding errors of sums must not decide: 1e-9 is far above those and far below what
# float32 logits tell apart
SCORES_PER_ONE = 1e9
_WORDS = np.array([UNSURE, OK, NOK])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where a defect score, which has nine decimals, becomes a verdict.

    Attributes:
        nok_at: NOK from this defect score on, 0 to 1.
        ok_below: OK below this defect score, 0 to 1; between the two the verdict is UNSURE.
    """

    nok_at: float
    ok_below: float

    def __post_init__(self) -> None:
        for name in ("nok_at", "ok_below"):
            if not 0 <= getattr(self, name) <= 1:  # not a number is refused too
                raise UsageError(name, "from 0 to 1", str(getattr(self, name)), fix=f"{name} = 0.5")
        if not self.ok_below <= self.nok_at:
            raise UsageError("ok_below", f"at most nok_at ({self.nok_at})", str(self.ok_below), fix="make both equal")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What parts are, and what of it is a defect.

    Attributes:
        classes: In the order of the logits.
        defect_classes: Those of them that are defects.
    """

    classes: tuple[str, ...]
    defect_classes: tuple[str, ...]

    def __post_init__(self) -> None:
        softmax.check_class_names(self.classes)
        if not (set(self.defect_classes) < set(self.classes) and self.defect_classes):
            got = ", ".join(self.defect_classes) or "none"
            raise UsageError("defect_classes", "some but not all of the classes", got, fix="name the defects")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """How a variant decides.

    Attributes:
        thresholds: Of the defect score, fitted on validation.
        temperature: Of the softmax, above 0, fitted on validation.
    """

    thresholds: Thresholds
    temperature: float

    def __post_init__(self) -> None:
        softmax.check_temperature(self.temperature)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decision(softmax.Decision):
    """What the station does with one part.

    Attributes:
        defect_score: Sum of the probabilities of the defect classes to nine decimals, 0 to 1.
    """

    defect_score: float

    def _detail(self) -> dict[str, Any]:
        return {"defect_score": self.defect_score, "scores": dict(self.scores)}


def defect_scores(
    probs: NDArray[np.float64], classes: Sequence[str], defect_classes: Sequence[str]
) -> NDArray[np.float64]:
    """Return the summed probability of the defect classes to nine decimals, float64 (N,), 0 to 1.

    Example:
        >>> defect_scores(np.array([[0.1, 0.2, 0.7]]), ["dent", "scratch", "ok"], ["dent", "scratch"]).tolist()
        [0.3]
    """
    return _resolved(probs[:, [classes.index(name) for name in defect_classes]].sum(axis=1))


def _resolved(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to nine decimals, so that a sure defect scores 1 and not 0.9999999999999999."""
    rounded: NDArray[np.float64] = np.rint(scores * SCORES_PER_ONE) / SCORES_PER_ONE
    return rounded


def verdicts(scores: NDArray[np.float64], thresholds: Thresholds) -> NDArray[np.str_]:
    """Return OK, NOK or UNSURE for each defect score (N,), which counts to nine decimals.

    Example:
        >>> verdicts(np.array([0.9999999999999999]), Thresholds(nok_at=1.0, ok_below=1.0)).tolist()
        ['NOK']
    """
    return _verdicts(_resolved(scores), thresholds)


def _verdicts(resolved: NDArray[np.float64], thresholds: Thresholds) -> NDArray[np.str_]:
    # no score is on both sides, and one that is no number is on neither
    words: NDArray[np.str_] = _WORDS[(resolved < thresholds.ok_below) + 2 * (resolved >= thresholds.nok_at)]
    return words


class Inspection(base.Task[Labels, Params]):
    """OK below one defect score, NOK from another on."""

    name = "inspection"
    labels_type = Labels
    params_type = Params

    def verdicts(self, labels: Labels) -> tuple[str, ...]:
        """Return OK, NOK and UNSURE."""
        return (OK, NOK, UNSURE)

    def classes(self, labels: Labels) -> tuple[str, ...]:
        """Return the classes."""
        return labels.classes

    def outputs(self, labels: Labels) -> tuple[base.OutputSpec, ...]:
        """Return the logits."""
        return (softmax.logits_spec(labels.classes),)

    def score_names(self, labels: Labels) -> tuple[str, ...]:
        """Return the classes."""
        return labels.classes

    def scores(self, outputs: Mapping[str, NDArray[np.float32]], labels: Labels, params: Params) -> NDArray[np.float64]:
        """Return the probability of every class, float64 (N, C)."""
        return softmax.probabilities_of(outputs, labels.classes, params.temperature)

    def decided(self, scores: NDArray[np.float64], labels: Labels, params: Params) -> list[Decision]:
        """Return the verdict on each row of probabilities.

        Example:
            >>> labels = Labels(classes=("bad", "ok"), defect_classes=("bad",))
            >>> params = Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0)
            >>> TASK.decided(np.array([[0.1, 0.9]]), labels, params)[0].verdict
            'OK'
        """
        defects = defect_scores(scores, labels.classes, labels.defect_classes)
        words = _verdicts(defects, params.thresholds)
        return [
            Decision(
                label=labels.classes[int(row.argmax())],
                score=float(row.max()),
                defect_score=float(defect),
                verdict=str(word),
                scores=dict(zip(labels.classes, row.tolist(), strict=True)),
            )
            for row, defect, word in zip(scores, defects, words, strict=True)
        ]

    def near_border(
        self, scores: NDArray[np.float64], labels: Labels, params: Params, *, tolerance: float
    ) -> NDArray[np.bool_]:
        """Return where a threshold, or the two best classes, are within reach."""
        defects = len(labels.defect_classes)
        # a sum of k probabilities moves by at most k times the tolerance, and its complement by as much
        reach = tolerance * min(defects, len(labels.classes) - defects)
        summed = defect_scores(scores, labels.classes, labels.defect_classes)
        cuts = params.thresholds
        at_border = np.minimum(np.abs(summed - cuts.nok_at), np.abs(summed - cuts.ok_below)) <= reach
        return np.asarray(at_border | softmax.tied(scores, tolerance=tolerance))

    def describe(self, labels: Labels, params: Params) -> list[str]:
        """Return classes and defects."""
        return [f"classes     {', '.join(labels.classes)}; defects: {', '.join(labels.defect_classes)}"]

    def count(self, labels: Labels, *, truth: Sequence[str], found: Sequence[base.Decision]) -> dict[str, Any]:
        """Count right labels, escapes, overkill and what is unsure."""
        pairs = list(zip(truth, found, strict=True))
        defective = [t in labels.defect_classes for t in truth]
        return {
            "n": len(pairs),
            "accuracy": sum(d.label == t for t, d in pairs) / len(pairs),
            "n_defective": sum(defective),
            "n_good": len(pairs) - sum(defective),
            "escapes": sum(bad and d.verdict == OK for bad, d in zip(defective, found, strict=True)),
            "overkill": sum(not bad and d.verdict == NOK for bad, d in zip(defective, found, strict=True)),
            "unsure": sum(d.verdict == UNSURE for d in found),
        }

    def tell(self, counts: Mapping[str, Any]) -> str:
        """Return escapes, overkill and unsure parts."""
        return (
            f"escapes {counts['escapes']} of {counts['n_defective']} defects, overkill {counts['overkill']} of "
            f"{counts['n_good']} good parts, {counts['unsure']} unsure"
        )


TASK = Inspection()
