"""Inspection: every part is OK or NOK, by the summed probability of the defect classes, or UNSURE between the two."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import nearest
from edgetl_runtime.tasks import base, softmax

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
class Bounds:
    """What a contract may bound; None leaves a term out.

    Attributes:
        max_escapes: Largest number of escapes; None allows one more than the float model has.
        max_overkill: Largest number of good parts rejected.
        max_escapes_of: The same for single defect classes.
        max_overkill_of: The same for single classes of good parts.

    Example:
        >>> Bounds(max_escapes=2, max_escapes_of={"crack": 0}).max_escapes_of["crack"]
        0
    """

    max_escapes: int | None = None
    max_overkill: int | None = None
    max_escapes_of: Mapping[str, int] = dataclasses.field(default_factory=dict)
    max_overkill_of: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("max_escapes", "max_overkill"):
            base.check_bound(name, getattr(self, name))
            for one, most in getattr(self, f"{name}_of").items():
                base.check_bound(f"{name}_of {one}", most)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decision(softmax.Decision):
    """What the station does with one part.

    Attributes:
        defect_score: Sum of the probabilities of the defect classes to nine decimals, 0 to 1.
    """

    defect_score: float

    def details(self) -> dict[str, float]:
        """Return the defect score."""
        return {"defect_score": self.defect_score}

    def _detail(self) -> dict[str, Any]:
        return {**self.details(), "scores": dict(self.scores)}


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


class Inspection(base.Task[Labels, Params, Bounds]):
    """OK below one defect score, NOK from another on."""

    name = "inspection"
    labels_type = Labels
    params_type = Params
    bounds_type = Bounds

    def verdicts(self, labels: Labels) -> tuple[str, ...]:
        """Return OK, NOK and UNSURE."""
        return (OK, NOK, UNSURE)

    def classes(self, labels: Labels) -> tuple[str, ...]:
        """Return the classes."""
        return labels.classes

    def right_verdict(self, labels: Labels, truth: str) -> str:
        """Return NOK for defects."""
        return NOK if truth in labels.defect_classes else OK

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
        n_defect = sum(t in labels.defect_classes for t in truth)
        good = [name for name in labels.classes if name not in labels.defect_classes]
        passed = {name: sum(t == name and d.verdict == OK for t, d in pairs) for name in labels.defect_classes}
        rejected = {name: sum(t == name and d.verdict == NOK for t, d in pairs) for name in good}
        return {
            "n": len(pairs),
            "accuracy": sum(d.label == t for t, d in pairs) / len(pairs),
            "n_defect": n_defect,
            "n_good": len(pairs) - n_defect,
            "escapes": sum(passed.values()),
            "overkill": sum(rejected.values()),
            "unsure": sum(d.verdict == UNSURE for d in found),
            "escapes_per_class": passed,
            "overkill_per_class": rejected,
        }

    def tell(self, counts: Mapping[str, Any]) -> str:
        """Return escapes, overkill and unsure parts."""
        return (
            f"escapes {counts['escapes']} of {counts['n_defect']} defects, overkill {counts['overkill']} of "
            f"{counts['n_good']} good parts, {counts['unsure']} unsure"
        )

    def check_bounds(self, bounds: Bounds, labels: Labels) -> None:
        """Refuse bounds on unknown classes, on escapes of good parts and on overkill of defects."""
        good = [name for name in labels.classes if name not in labels.defect_classes]
        kinds = {"max_escapes_of": (labels.defect_classes, "a defect class"), "max_overkill_of": (good, "good parts")}
        for field, (fitting, kind) in kinds.items():
            for name in getattr(bounds, field):
                if name not in labels.classes:
                    # a bound on escapes is never put on good parts by advice, nor one on overkill on defects
                    fix = nearest(name, fitting)
                    raise UsageError("a class of the contract", "one of the run's", f"'{name}'", fix=fix)
                if name not in fitting:
                    other = next(key for key in kinds if key != field)
                    what, fix = (f"--{key.replace('_', '-')} {name}={{}}" for key in (field, other))
                    got = "a defect class" if field == "max_overkill_of" else "good parts"
                    raise UsageError(what.format("…"), f"on {kind}", got, fix=fix.format(getattr(bounds, field)[name]))

    def held(
        self, bounds: Bounds, counts: Mapping[str, Any], reference: Mapping[str, Any] | None = None
    ) -> Iterator[base.Bound]:
        """Yield escapes and overkill, then those of single classes; a candidate may have one escape more by default."""
        escapes = bounds.max_escapes
        if escapes is None and reference is not None:
            escapes = reference["escapes"] + 1
        for name, most in (("escapes", escapes), ("overkill", bounds.max_overkill)):
            if most is not None:
                yield base.Bound(name=name, value=counts[name], most=most)
            for one, most_of in getattr(bounds, f"max_{name}_of").items():
                value = counts[f"{name}_per_class"].get(one, 0)
                yield base.Bound(name=f"{name} of {one}", value=value, most=most_of)


TASK = Inspection()
