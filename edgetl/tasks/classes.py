"""What tasks on classes share: calibration and metrics of class probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime.tasks.softmax import probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]


def evaluate_classes(probs: Floats, truth: Labels, classes: Sequence[str]) -> dict[str, Any]:
    """Evaluate probabilities against labels, whatever the verdicts.

    Args:
        probs: Float64 (N, C).
        truth: Indices into `classes`, int (N,).
        classes: C names.

    Returns:
        accuracy, balanced_accuracy, macro_f1, ece (0 to 1), log_loss (nats), per_class (precision, recall, f1, n) and
        confusion (rows: truth).
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    answers, indices = probs.argmax(axis=1), range(len(classes))
    found = precision_recall_fscore_support(truth, answers, labels=indices, zero_division=0.0)
    table = np.stack(found, axis=1)
    there = table[:, 3] > 0
    return {
        "accuracy": float((answers == truth).mean()),
        "balanced_accuracy": float(table[there, 1].mean()),
        "macro_f1": float(table[:, 2].mean()),
        "ece": expected_calibration_error(probs, truth),
        "log_loss": log_loss(probs, truth),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f1), "n": int(n)}
            for name, (p, r, f1, n) in zip(classes, table, strict=True)
        },
        "confusion": confusion_matrix(truth, answers, labels=indices).tolist(),
    }


def balanced_accuracy(logits: NDArray[np.floating], truth: Labels) -> float:
    """Mean recall over the classes that occur in `truth`, 0 to 1.

    Example:
        >>> balanced_accuracy(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([0, 1, 1]))
        0.75
    """
    from sklearn.metrics import recall_score

    return float(recall_score(truth, logits.argmax(axis=1), labels=np.unique(truth), average="macro"))


def log_loss(probs: Floats, truth: Labels) -> float:
    """Mean negative log-likelihood of the true class, in nats."""
    from sklearn.metrics import log_loss as of_sklearn

    return float(of_sklearn(truth, probs, labels=range(probs.shape[1])))


def expected_calibration_error(probs: Floats, truth: Labels, bins: int = 15) -> float:
    """Gap between confidence and accuracy, weighted over equal-width bins (Guo et al., arXiv 1706.04599), 0 to 1."""
    confidence = probs.max(axis=1)
    correct = probs.argmax(axis=1) == truth
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (which == b).mean() * abs(correct[which == b].mean() - confidence[which == b].mean())
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def fit_temperature(logits: NDArray[np.floating], truth: Labels) -> float:
    """Fit the softmax temperature on validation (arXiv 1706.04599), 0.05 to 20.

    The targets are smoothed by one imagined error in N + 2 images (Platt, 1999), so that a validation split without
    errors does not promise certainty.
    """
    from scipy.optimize import minimize_scalar

    doubt = 1 / (len(truth) + 2)
    rows = np.arange(len(truth))

    def loss(log_t: float) -> float:
        logs = np.log(np.maximum(probabilities(logits, float(np.exp(log_t))), 1e-12))
        return float(-(1 - doubt) * logs[rows, truth].mean() - doubt * logs.mean())

    result = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(result.x))


def refit_temperature(logits: NDArray[np.floating], truth: Labels, *, near: float, gain: float = 0.01) -> float:
    """Keep the float model's temperature for a candidate unless its own lowers the log-loss by more than `gain`.

    Another temperature stretches the scores and so moves decisions, which is only worth a real gain.
    """
    own = fit_temperature(logits, truth)
    before, after = (log_loss(probabilities(logits, t), truth) for t in (near, own))
    return own if before - after > gain else near


def calibrated_log_loss(logits: NDArray[np.floating], truth: Labels) -> float:
    """Log-loss at the best temperature: ranks models by how well they order and grade parts, at any scale of scores."""
    return log_loss(probabilities(logits, fit_temperature(logits, truth)), truth)


def likely_crossings(before: Floats, after: Floats, *, cuts: tuple[float, float], share: float = 0.2) -> float:
    """Say how many of as many other parts would change sides, where the cut was chosen on these very parts.

    A cut is put into a gap between the scores of validation, so that fewer parts lie beside it there than elsewhere.
    The changes are therefore counted at all cuts near it and averaged: a part votes with the share of the cuts that
    lie between its two scores.

    Args:
        before: Scores, float (N,), 0 to 1.
        after: Scores of the same parts by another model, float (N,), 0 to 1.
        cuts: Of `before` and of `after`, 0 to 1.
        share: Of the parts that lie within the cuts that are tried.

    Example:
        >>> scores = np.linspace(0.05, 0.95, 19)
        >>> likely_crossings(scores, scores, cuts=(0.5, 0.5))
        0.0
    """
    cut_before, cut_after = log_odds(np.array(cuts))
    first, second = log_odds(before) - cut_before, log_odds(after) - cut_after
    nearest = np.sort(np.abs(first))[: max(1, round(share * len(first)))]
    reach = max(float(nearest[-1]), 0.1)
    low, high = np.minimum(first, second), np.maximum(first, second)
    between = np.minimum(high, reach) - np.maximum(low, -reach)
    return float(np.maximum(between, 0.0).sum() / (2 * reach))


def log_odds(scores: Floats) -> Floats:
    """Return log(p / (1 - p)), bounded so that a part the model is sure of does not outweigh the others."""
    bounded = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(bounded / (1 - bounded)), np.float64)
