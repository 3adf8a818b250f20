"""Image classification: from logits to a Decision, the single implementation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgetl_runtime.errors import BackendError, ShapeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Verdict = Literal["OK", "NOK", "UNSURE"]
# defect scores are sums, and rounding errors of sums must not decide: 1e-9 is far above those and far below what
# float32 logits tell apart
SCORES_PER_ONE = 1e9
_WORDS = np.array(["UNSURE", "OK", "NOK"])


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
class Decision:
    """What the station does with one part.

    Attributes:
        label: The class with the highest probability.
        score: That probability, 0 to 1.
        defect_score: Sum of the probabilities of the defect classes to nine decimals, 0 to 1.
        verdict: OK, NOK or UNSURE, by the variant's thresholds.
        scores: Probability of every class.
        timings_ms: Wall time of decode, preprocess, infer, postprocess and total, in milliseconds.
    """

    label: str
    score: float
    defect_score: float
    verdict: Verdict
    scores: Mapping[str, float]
    timings_ms: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def to_mapping(self) -> dict[str, Any]:
        """Return the decision as `predict --json` prints it."""
        return {
            "class": self.label,
            "score": self.score,
            "defect_score": self.defect_score,
            "verdict": self.verdict,
            "scores": dict(self.scores),
            "timings_ms": dict(self.timings_ms),
        }


def probabilities(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of `logits / temperature`.

    Args:
        logits: float array (N, C).
        temperature: > 0 and finite; fitted on validation (Guo et al., arXiv 1706.04599).

    Returns:
        float64 array (N, C); rows sum to 1.

    Raises:
        ShapeError: The logits are not of rank 2.
        BackendError: The logits are not finite.
        UsageError: The temperature is not positive and finite.

    Example:
        >>> probabilities(np.array([[0.0, 0.0]])).tolist()
        [[0.5, 0.5]]
    """
    if logits.ndim != 2:
        raise ShapeError("logits", "of shape (N, C)", f"shape {logits.shape}", fix="pass a batch")
    if not np.isfinite(logits).all():
        fix = "use another variant; this one is numerically broken"
        raise BackendError("logits", "finite", "NaN or infinity", fix=fix)
    check_temperature(temperature)
    wide = logits.astype(np.float64)
    exponents = np.exp((wide - wide.max(axis=1, keepdims=True)) / temperature)  # no temperature makes this NaN
    probs: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return probs


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not a positive number.

    Raises:
        UsageError: It is not above 0 and finite.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise UsageError("temperature", "above 0 and finite", str(temperature), fix="temperature = 1.0")


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


def decide(
    logits: NDArray[np.floating],
    *,
    classes: Sequence[str],
    defect_classes: Sequence[str],
    thresholds: Thresholds,
    temperature: float,
) -> list[Decision]:
    """Turn the logits of a batch into decisions without timings.

    Args:
        logits: float array (N, C), C = len(classes).
        classes: Class names in the order of the logits.
        defect_classes: Those of them that are defects.
        thresholds: Of the variant that made the logits.
        temperature: Of the variant that made the logits.

    Raises:
        ShapeError: The logits have another number of classes.
        BackendError: The logits are not finite.

    Example:
        >>> t = Thresholds(nok_at=0.5, ok_below=0.5)
        >>> decide(np.array([[0.0, 2.0]]), classes=["bad", "ok"], defect_classes=["bad"], thresholds=t,
        ...        temperature=1.0)[0].verdict
        'OK'
    """
    if logits.ndim != 2 or logits.shape[1] != len(classes):
        raise ShapeError(
            "logits",
            f"of shape (N, {len(classes)})",
            f"shape {logits.shape}",
            fix="use the bundle's own model",
        )
    probs = probabilities(logits, temperature)
    return decided(probs, classes=classes, defect_classes=defect_classes, thresholds=thresholds)


def decided(
    probs: NDArray[np.float64], *, classes: Sequence[str], defect_classes: Sequence[str], thresholds: Thresholds
) -> list[Decision]:
    """Turn the probabilities (N, C) of a batch into decisions without timings; arguments as of `decide`."""
    defects = defect_scores(probs, classes, defect_classes)
    words = _verdicts(defects, thresholds)
    return [
        Decision(
            label=classes[int(row.argmax())],
            score=float(row.max()),
            defect_score=float(defect),
            verdict=str(word),  # type: ignore[arg-type]
            scores=dict(zip(classes, row.tolist(), strict=True)),
        )
        for row, defect, word in zip(probs, defects, words, strict=True)
    ]
