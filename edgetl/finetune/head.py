"""The regularised head on frozen features: the baseline, and the start of fine-tuning."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from edgetl.tasks.classes import calibrated_log_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)  # inverse L2 strength C, from strong to weak


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A linear classifier.

    Attributes:
        weight: float32 (C, F).
        bias: float32 (C,).
        strength: The inverse L2 strength chosen on validation.
    """

    weight: Floats
    bias: Floats
    strength: float

    def logits(self, features: Floats) -> Floats:
        """Map features (N, F) to logits (N, C)."""
        return np.asarray(features @ self.weight.T + self.bias, np.float32)


def soft_targets(labels: NDArray[np.int64], certainty: NDArray[np.float64], n_classes: int) -> Floats:
    """Spread the doubt about each label evenly over the other classes, float32 (N, C), rows sum to 1.

    Example:
        >>> soft_targets(np.array([1]), np.array([0.75]), 2).tolist()
        [[0.25, 0.75]]
    """
    targets = np.repeat(((1 - certainty) / max(n_classes - 1, 1))[:, None], n_classes, axis=1)
    targets[np.arange(len(labels)), labels] = certainty
    return targets.astype(np.float32)


def class_weights(labels: NDArray[np.int64], n_classes: int, *, unbalanced_from: float = 3.0) -> Floats:
    """Weight of each class in the loss: 1 while the largest is < `unbalanced_from` times the smallest, else n^-1/2.

    The square root keeps rare classes from dominating; weights average to 1 over the images.
    """
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    if counts.max() < unbalanced_from * max(counts.min(), 1):
        return np.ones(n_classes, np.float32)
    weights = np.maximum(counts, 1) ** -0.5
    return np.asarray(weights * counts.sum() / (weights * counts).sum(), np.float32)


def fit_head(
    train: Floats, targets: Floats, weights: Floats, *, val: Floats, val_labels: NDArray[np.int64], seed: int
) -> Head:
    """Fit multinomial logistic regression, its L2 strength chosen by the calibrated log-loss on validation.

    Args:
        train: Features (N, F).
        targets: Soft targets (N, C).
        weights: Weight of each class in the loss (C,).
        val: Validation features (M, F).
        val_labels: Validation labels (M,).
        seed: Of the solver.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    mean, std = train.mean(axis=0), float(np.sqrt(train.var(axis=0).mean()) + 1e-6)
    n_classes = targets.shape[1]
    # scikit-learn takes hard labels only: one weighted row per class with a share in the target
    rows, labels = np.nonzero(targets > 0)
    scaled = ((train - mean) / std)[rows]
    sample_weight = targets[rows, labels] * weights[labels]
    best: tuple[float, Head] | None = None
    model = LogisticRegression(max_iter=200, tol=1e-3, warm_start=True, random_state=seed)
    for strength in STRENGTHS:
        with threadpool_limits(1):  # a problem too small to share: on a busy machine two threads wait for each other
            model.set_params(C=strength).fit(scaled, labels, sample_weight=sample_weight)
        head = _unscaled(model.coef_, model.intercept_, mean, std, n_classes, strength)
        loss = calibrated_log_loss(head.logits(val), val_labels)
        if best is None or loss < best[0]:
            best = (loss, head)
    if best is None:
        msg = "STRENGTHS is empty"
        raise RuntimeError(msg)
    return best[1]


def _unscaled(
    coef: NDArray[np.float64],
    intercept: NDArray[np.float64],
    mean: Floats,
    std: float,
    n_classes: int,
    strength: float,
) -> Head:
    """Fold the standardisation of the features into the weights; two classes come as one row from scikit-learn."""
    if n_classes == 2:
        coef, intercept = np.concatenate([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
    weight = coef / std
    return Head(
        weight=weight.astype(np.float32), bias=(intercept - weight @ mean).astype(np.float32), strength=strength
    )
