"""From logits to probabilities, and what every task on classes checks: the single implementations."""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime.errors import BackendError, ShapeError, UsageError
from edgetl_runtime.tasks import base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OUTPUT = "logits"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decision(base.Decision):
    """A decision for one of several classes.

    Attributes:
        scores: Probability of every class.
    """

    scores: Mapping[str, float]

    def apart(self, other: base.Decision) -> float:
        """Return the largest difference of a probability."""
        theirs: Mapping[str, float] = other.scores  # type: ignore[attr-defined]  # decisions of one task
        return max(abs(score - theirs[name]) for name, score in self.scores.items())

    def _detail(self) -> dict[str, Any]:
        return {"scores": dict(self.scores)}


def probabilities(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax of `logits / temperature`.

    Args:
        logits: float array (N, C).
        temperature: > 0 and finite; fitted on validation (Guo et al., arXiv 1706.04599).

    Returns:
        float64 array (N, C); rows sum to 1.

    Raises:
        ShapeError: The logits are not of rank 2.
        BackendError: The logits are not finite: the model is broken.
        UsageError: The temperature is not positive and finite.

    Example:
        >>> probabilities(np.array([[0.0, 0.0]])).tolist()
        [[0.5, 0.5]]
    """
    if logits.ndim != 2:
        raise ShapeError(OUTPUT, "of shape (N, C)", f"shape {logits.shape}", fix="pass a batch")
    if not np.isfinite(logits).all():
        fix = "use another variant; this one is numerically broken"
        raise BackendError(OUTPUT, "finite", "NaN or infinity", fix=fix)
    check_temperature(temperature)
    return softmax(logits, temperature)


def probabilities_of(
    outputs: Mapping[str, NDArray[np.float32]], classes: Sequence[str], temperature: float
) -> NDArray[np.float64]:
    """Return the probabilities of a model's logits, float64 (N, C); the temperature was checked before.

    Raises:
        BackendError: There are no logits, or of another number of classes, or not finite ones.
    """
    return softmax(base.finite_output(outputs, OUTPUT, (len(classes),)), temperature)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return `probabilities` of what was checked before; of what is not finite, not a number."""
    wide = logits.astype(np.float64)
    exponents = np.exp((wide - wide.max(axis=1, keepdims=True)) / temperature)  # no temperature makes this NaN
    probs: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return probs


def logits_spec(classes: Sequence[str]) -> base.OutputSpec:
    """Return the output of a classifier."""
    return base.OutputSpec(name=OUTPUT, shape=("N", len(classes)), meaning="one logit for each class")


def tied(scores: NDArray[np.float64], *, tolerance: float) -> NDArray[np.bool_]:
    """Return where the two best classes may change places, bool (N,)."""
    top = np.sort(scores, axis=1)
    return np.asarray(top[:, -1] - top[:, -2] <= 2 * tolerance)


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not a positive number.

    Raises:
        UsageError: It is not above 0 and finite.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise UsageError("temperature", "above 0 and finite", str(temperature), fix="temperature = 1.0")


def check_class_names(classes: Sequence[str], *, reserved: Sequence[str] = ()) -> None:
    """Refuse fewer than two classes, twins, and names that a verdict has.

    Raises:
        UsageError: Says which.
    """
    if len(classes) < 2:
        raise UsageError("classes", "at least two", str(len(classes)), fix="add images of another class")
    if len(set(classes)) != len(classes):
        raise UsageError("classes", "different", ", ".join(classes), fix="name each class once")
    plain = [unicodedata.normalize("NFKC", name).casefold() for name in classes]
    folded = {name.casefold() for name in reserved}
    taken = [name for name, form in zip(classes, plain, strict=True) if form in folded]
    if taken:
        must = f"named otherwise than {', '.join(reserved)}"
        raise UsageError("classes", must, taken[0], fix=f"rename the class {taken[0]}")
    if reserved and len(set(plain)) != len(plain):
        must = "different by more than case"
        raise UsageError("classes", must, ", ".join(classes), fix="rename or merge those that look alike")
