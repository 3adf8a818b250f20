"""Metrics of a classifier and its verdicts: pure functions on numpy arrays, shared by finetune and deploy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgetl_runtime.tasks.inspection import Thresholds, defect_scores, verdicts
from edgetl_runtime.tasks.softmax import probabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]


def evaluate(
    logits: NDArray[np.floating],
    labels: Labels,
    *,
    classes: Sequence[str],
    defect_classes: Sequence[str],
    thresholds: Thresholds,
    temperature: float,
    groups: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate logits against labels.

    Args:
        logits: float (N, C).
        labels: int (N,), indices into `classes`.
        classes: Class names in the order of the logits.
        defect_classes: Those of them that are defects.
        thresholds: Verdict thresholds, fitted elsewhere.
        temperature: Fitted elsewhere.
        groups: What each image belongs to, (N,); bounds count groups. Empty where every image stands for itself.

    Returns:
        A plain mapping: accuracy, balanced_accuracy, macro_f1, auroc, ece, log_loss, escapes, overkill, unsure, n,
        n_defect, n_good, escape_rate_upper95, overkill_rate_upper95, per_class, confusion (rows: truth), verdicts
        (class to counts), verdict_accuracy, escapes_per_class (defect classes), overkill_per_class (good parts) and
        what the bounds count: n_defect_groups, n_good_groups, escape_groups, overkill_groups (those with one). Rates
        are 0 to 1; escapes, overkill and unsure are counts.
    """
    probs = probabilities(logits, temperature)
    predicted = probs.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, len(classes))
    per_class = _per_class(confusion, classes)
    defective = is_defective(labels, classes, defect_classes)
    defects = defect_scores(probs, classes, defect_classes)
    return {
        **_of_verdicts(verdicts(defects, thresholds), labels, defective, classes, defect_classes, groups),
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": balanced_accuracy(predicted, labels),
        "macro_f1": float(np.mean([c["f1"] for c in per_class.values()])),
        "auroc": auroc(defects, defective),
        "ece": expected_calibration_error(probs, labels),
        "log_loss": log_loss(probs, labels),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def _of_verdicts(
    words: NDArray[np.str_],
    labels: Labels,
    defective: NDArray[np.bool_],
    classes: Sequence[str],
    defect_classes: Sequence[str],
    groups: Sequence[str],
) -> dict[str, Any]:
    """Count what the station's verdicts do to parts, and bound it."""
    passed, rejected = defective & (words == "OK"), ~defective & (words == "NOK")
    n_defect = int(defective.sum())
    in_groups = _in_groups(np.array(groups or range(len(labels))), defective, passed, rejected)
    return {
        "verdict_accuracy": float((words == np.where(defective, "NOK", "OK")).mean()),
        "escapes": int(passed.sum()),
        "overkill": int(rejected.sum()),
        "unsure": int((words == "UNSURE").sum()),
        "n": len(labels),
        "n_defect": n_defect,
        "n_good": len(labels) - n_defect,
        **in_groups,
        "escape_rate_upper95": binomial_upper(in_groups["escape_groups"], in_groups["n_defect_groups"]),
        "overkill_rate_upper95": binomial_upper(in_groups["overkill_groups"], in_groups["n_good_groups"]),
        "verdicts": {
            name: {word: int(((labels == i) & (words == word)).sum()) for word in ("OK", "UNSURE", "NOK")}
            for i, name in enumerate(classes)
        },
        "escapes_per_class": _count_per_class(labels[passed], classes, defect_classes),
        "overkill_per_class": _count_per_class(
            labels[rejected], classes, [name for name in classes if name not in defect_classes]
        ),
    }


def _in_groups(
    groups: NDArray[Any], defective: NDArray[np.bool_], passed: NDArray[np.bool_], rejected: NDArray[np.bool_]
) -> dict[str, int]:
    """Count groups with defects and with good parts, and those of them with an escape or a rejected good part."""
    kinds = {"n_defect": defective, "n_good": ~defective, "escape": passed, "overkill": rejected}
    return {f"{name}_groups": len(np.unique(groups[which])) for name, which in kinds.items()}


def verdict_accuracy(metrics: Mapping[str, Any]) -> float:
    """Share of the parts that get the right verdict, 0 to 1: what the station acts on; UNSURE is not right.

    Example:
        >>> verdict_accuracy({"n": 50, "escapes": 1, "overkill": 3, "unsure": 1})
        0.9
    """
    wrong = sum(int(metrics.get(key) or 0) for key in ("escapes", "overkill", "unsure"))
    return 1 - wrong / metrics["n"] if metrics["n"] else 0.0


def _count_per_class(labels: Labels, classes: Sequence[str], counted: Sequence[str]) -> dict[str, int]:
    return {name: int((labels == classes.index(name)).sum()) for name in counted}


def is_defective(labels: Labels, classes: Sequence[str], defect_classes: Sequence[str]) -> NDArray[np.bool_]:
    """Return which labels are those of defect classes, bool (N,)."""
    return np.isin(labels, [classes.index(name) for name in defect_classes])


def confusion_matrix(labels: Labels, predicted: Labels, n_classes: int) -> Labels:
    """Count (truth, prediction) pairs, int (C, C)."""
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def balanced_accuracy(predicted: Labels, labels: Labels) -> float:
    """Mean recall over the classes that occur in `labels`, 0 to 1.

    Example:
        >>> balanced_accuracy(np.array([0, 0, 1]), np.array([0, 1, 1]))
        0.75
    """
    return float(np.mean([(predicted[labels == label] == label).mean() for label in np.unique(labels)]))


def _per_class(confusion: Labels, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    result = {}
    for i, name in enumerate(classes):
        hits, truth, predicted = int(confusion[i, i]), int(confusion[i].sum()), int(confusion[:, i].sum())
        precision = hits / predicted if predicted else 0.0
        recall = hits / truth if truth else 0.0
        f1 = 2 * hits / (truth + predicted) if truth + predicted else 0.0
        result[name] = {"precision": precision, "recall": recall, "f1": f1, "n": truth}
    return result


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve of `scores` for `positive`, ties counted half; None where only one kind is present.

    Example:
        >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        0.875
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def log_loss(probs: Floats, labels: Labels) -> float:
    """Mean negative log-likelihood of the true class, in nats."""
    return float(-np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12)).mean())


def expected_calibration_error(probs: Floats, labels: Labels, bins: int = 15) -> float:
    """Gap between confidence and accuracy, weighted over equal-width bins (Guo et al., arXiv 1706.04599), 0 to 1."""
    confidence = probs.max(axis=1)
    correct = probs.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (which == b).mean() * abs(correct[which == b].mean() - confidence[which == b].mean())
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def fit_temperature(logits: NDArray[np.floating], labels: Labels) -> float:
    """Fit the softmax temperature on validation (arXiv 1706.04599), 0.05 to 20.

    The targets are smoothed by one imagined error in N + 2 images (Platt, 1999), so that a validation split without
    errors does not promise certainty.
    """
    from scipy.optimize import minimize_scalar

    doubt = 1 / (len(labels) + 2)

    def loss(log_t: float) -> float:
        probs = np.maximum(probabilities(logits, float(np.exp(log_t))), 1e-12)
        return (1 - doubt) * log_loss(probs, labels) - doubt * float(np.log(probs).mean())

    result = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(result.x))


def refit_temperature(logits: NDArray[np.floating], labels: Labels, *, near: float, gain: float = 0.01) -> float:
    """Keep the float model's temperature for a candidate unless its own lowers the log-loss by more than `gain`.

    Another temperature stretches the scores and so moves decisions, which is only worth a real gain.
    """
    own = fit_temperature(logits, labels)
    before, after = (log_loss(probabilities(logits, t), labels) for t in (near, own))
    return own if before - after > gain else near


def calibrated_log_loss(logits: NDArray[np.floating], labels: Labels) -> float:
    """Log-loss at the best temperature: ranks models by how well they order and grade, not by how loud they are."""
    return log_loss(probabilities(logits, fit_temperature(logits, labels)), labels)


def binomial_upper(events: int, n: int, confidence: float = 0.95) -> float | None:
    """Exact one-sided upper bound of a rate after `events` in `n` (Clopper and Pearson, 1934); None for n = 0.

    Example:
        >>> round(binomial_upper(0, 100), 4)
        0.0295
    """
    from scipy.stats import beta

    if n == 0:
        return None
    return 1.0 if events == n else float(beta.ppf(confidence, events + 1, n - events))


def escape_statement(metrics: Mapping[str, Any], *, split: str = "test") -> str:
    """Say what the number of defects in a split can support.

    Args:
        metrics: escapes and n_defect, and escape_groups and n_defect_groups where images share groups.
        split: Where they were counted.

    Example:
        >>> escape_statement({"escapes": 0, "n_defect": 100})
        '0 escapes among 100 defects of test: with 95 % confidence the escape rate is below 3.0 %'
        >>> escape_statement({"escapes": 2, "n_defect": 100}).partition(": ")[2]
        'with 95 % confidence the escape rate is below 6.2 % (100 defects without any escape would support 3.0 %)'
    """
    escapes, n = metrics["escapes"], metrics["n_defect"]
    events, units = counted(metrics, "escape")
    bound, best = binomial_upper(events, units), binomial_upper(0, units)
    if bound is None or best is None:
        return f"{split} holds no defects: nothing can be said about escapes"
    in_groups = f" ({units} group{'' if units == 1 else 's'})" if units != n else ""
    told = (
        f"{escapes} escape{'' if escapes == 1 else 's'} among {n} defect{'' if n == 1 else 's'}{in_groups} of {split}"
    )
    said = f"{told}: with 95 % confidence {_rate('escape rate', 'an escape', bound, groups=units != n)}"
    parts = f"{units} groups" if units != n else f"{n} defects"
    return said + (f" ({parts} without any escape would support {_percent_up(best)} %)" if escapes else "")


def overkill_statement(metrics: Mapping[str, Any], *, split: str = "test") -> str:
    """Say what the number of good parts in a split can support, like `escape_statement`.

    Args:
        metrics: overkill and n_good, and overkill_groups and n_good_groups where images share groups.
        split: Where they were counted.

    Example:
        >>> overkill_statement({"overkill": 0, "n_good": 100})
        '0 of 100 good parts of test rejected: with 95 % confidence the overkill rate is below 3.0 %'
    """
    n = metrics["n_good"]
    events, units = counted(metrics, "overkill")
    bound = binomial_upper(events, units)
    if bound is None:
        return f"{split} holds no good parts: nothing can be said about overkill"
    in_groups = f" ({units} group{'' if units == 1 else 's'})" if units != n else ""
    told = f"{metrics['overkill']} of {n} good part{'' if n == 1 else 's'}{in_groups} of {split} rejected"
    return f"{told}: with 95 % confidence {_rate('overkill rate', 'a rejected one', bound, groups=units != n)}"


def counted(metrics: Mapping[str, Any], event: Literal["escape", "overkill"]) -> tuple[int, int]:
    """Return (events, trials) that a bound may count: groups, as images of one group are not independent.

    Example:
        >>> counted({"escapes": 5, "n_defect": 20, "escape_groups": 2, "n_defect_groups": 4}, "escape")
        (2, 4)
    """
    images, parts = ("escapes", "n_defect") if event == "escape" else ("overkill", "n_good")
    units = min(metrics.get(f"{parts}_groups", metrics[parts]), metrics[parts])
    if units == metrics[parts]:
        return metrics[images], metrics[parts]
    return min(metrics.get(f"{event}_groups", metrics[images]), units), units


def _rate(name: str, event: str, bound: float, *, groups: bool) -> str:
    # rounded up: a bound may be stated too high, never too low
    if groups:
        return f"less than {_percent_up(bound)} % of groups hold {event}"
    return f"the {name} is below {_percent_up(bound)} %"


def _percent_up(share: float) -> str:
    return f"{math.ceil(1000 * share - 1e-9) / 10:.1f}"


def flips(reference: tuple[NDArray[np.str_], Labels], candidate: tuple[NDArray[np.str_], Labels]) -> NDArray[np.bool_]:
    """Return which images differ between two models, each given as (verdicts, labels), bool (N,)."""
    different: NDArray[np.bool_] = (reference[0] != candidate[0]) | (reference[1] != candidate[1])
    return different


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other one beats, cheapest first.

    Args:
        points: (cost, gain) each; of two equal points the first is kept.

    Example:
        >>> pareto_front([(4.0, 0.98), (2.0, 0.95), (3.0, 0.94), (9.0, 0.98)])
        [1, 0]
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front
