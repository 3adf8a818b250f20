"""Figures of verdicts OK, NOK and UNSURE: escapes, overkill, and what they prove. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgetl.metrics import binomial_upper, percent_up
from edgetl_runtime.tasks.inspection import NOK, OK, UNSURE, Labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


def of_verdicts(
    words: NDArray[np.str_], truth: NDArray[np.int64], labels: Labels, groups: Sequence[str] = ()
) -> dict[str, Any]:
    """Count what the station's verdicts do to parts, and bound it.

    Args:
        words: Verdicts, (N,).
        truth: Indices into the classes, int (N,).
        labels: Classes, and which of them are defects.
        groups: What each image belongs to, (N,); bounds count groups. Empty where every image stands for itself.

    Returns:
        escapes, overkill, unsure, n, n_defect, n_good, escape_rate_upper95, overkill_rate_upper95 (0 to 1),
        escapes_per_class (defect classes), overkill_per_class (good parts) and what the bounds count: n_defect_groups,
        n_good_groups, escape_groups, overkill_groups (those with one).
    """
    defective = is_defective(truth, labels)
    passed, rejected = defective & (words == OK), ~defective & (words == NOK)
    n_defect = int(defective.sum())
    in_groups = _in_groups(np.array(groups or range(len(truth))), defective, passed, rejected)
    good = [name for name in labels.classes if name not in labels.defect_classes]
    return {
        "escapes": int(passed.sum()),
        "overkill": int(rejected.sum()),
        "unsure": int((words == UNSURE).sum()),
        "n": len(truth),
        "n_defect": n_defect,
        "n_good": len(truth) - n_defect,
        **in_groups,
        "escape_rate_upper95": binomial_upper(in_groups["escape_groups"], in_groups["n_defect_groups"]),
        "overkill_rate_upper95": binomial_upper(in_groups["overkill_groups"], in_groups["n_good_groups"]),
        "escapes_per_class": _count_per_class(truth[passed], labels, labels.defect_classes),
        "overkill_per_class": _count_per_class(truth[rejected], labels, good),
    }


def is_defective(truth: NDArray[np.int64], labels: Labels) -> NDArray[np.bool_]:
    """Return which labels are those of defect classes, bool (N,)."""
    return np.isin(truth, [labels.classes.index(name) for name in labels.defect_classes])


def _in_groups(
    groups: NDArray[Any], defective: NDArray[np.bool_], passed: NDArray[np.bool_], rejected: NDArray[np.bool_]
) -> dict[str, int]:
    """Count groups with defects and with good parts, and those of them with an escape or a rejected good part."""
    kinds = {"n_defect": defective, "n_good": ~defective, "escape": passed, "overkill": rejected}
    return {f"{name}_groups": len(np.unique(groups[which])) for name, which in kinds.items()}


def _count_per_class(truth: NDArray[np.int64], labels: Labels, counted: Sequence[str]) -> dict[str, int]:
    return {name: int((truth == labels.classes.index(name)).sum()) for name in counted}


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve of `scores` for `positive`; None where only one kind is present.

    Example:
        >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        0.875
    """
    from sklearn.metrics import roc_auc_score

    return None if positive.all() or not positive.any() else float(roc_auc_score(positive, scores))


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
    return said + (f" ({parts} without any escape would support {percent_up(best)} %)" if escapes else "")


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
        return f"less than {percent_up(bound)} % of groups hold {event}"
    return f"the {name} is below {percent_up(bound)} %"
