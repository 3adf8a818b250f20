"""Plots of defect scores for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.plotting import FAINT, GOOD, INK, LINE, NARROW, WARM, new_figure, plain, plot_style, uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgetl_runtime.tasks.inspection import Labels

MOST_CLASSES = 24


def roc_points(rows: Sequence[Any], labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return (overkill rate, detection rate) for every threshold, from strict to loose; None if one kind is missing."""
    from sklearn.metrics import roc_curve

    scores = np.array([r.details["defect_score"] for r in rows], np.float64)
    defective = np.array([r.label in labels.defect_classes for r in rows], np.bool_)
    if not len(rows) or defective.all() or not defective.any():
        return None
    rejected, found, _ = roc_curve(defective, scores, drop_intermediate=False)
    return rejected, found


def roc(rows: Mapping[str, Sequence[Any]], run: Any) -> str:  # noqa: ANN401  (edgetl.run.Run)
    """Plot detection against overkill for every threshold, and where the run's threshold lies."""
    with plot_style():
        figure, axes = new_figure(NARROW)
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        for split, colour in (("val", FAINT), ("test", GOOD)):
            curve = roc_points(rows.get(split, ()), run.labels)
            if curve is not None:
                area = (run.val if split == "val" else run.test)["auroc"]
                name = f"{'validation' if split == 'val' else split}, area {area:.3f}" if area is not None else split
                axes.step(curve[0], curve[1], where="post", color=colour, linewidth=1.8, label=name)
        test = run.test
        if test["n_good"] and test["n_defect"]:
            point = (test["overkill"] / test["n_good"], 1 - test["escapes"] / test["n_defect"])
            axes.plot(*point, "o", color=WARM, markersize=8, label="threshold of this run, test", clip_on=False)
        axes.set(xlabel="good parts rejected (overkill rate)", ylabel="defects found", xlim=(-0.01, 1), ylim=(0, 1.01))
        axes.legend(loc="lower right", fontsize=9)
        return uri(figure)


def score_histograms(rows: Sequence[Any], run: Any) -> str:  # noqa: ANN401  (edgetl.run.Run)
    """Plot the defect scores of test, one strip a class, with the thresholds across."""
    label = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    classes = [c for c in run.labels.classes if any(r.label == c for r in rows)][:MOST_CLASSES]
    with plot_style():
        figure, grid = new_figure(
            (5.1, max(3.7, 0.62 * len(classes) + 0.7)), nrows=len(classes), sharex=True, squeeze=False
        )
        for axes, name in zip(grid[:, 0], classes, strict=True):
            scores = [r.details["defect_score"] for r in rows if r.label == name]
            colour = WARM if name in run.labels.defect_classes else GOOD
            axes.hist(scores, bins=np.linspace(0, 1, 41), color=colour, alpha=0.85)
            axes.set_yscale("log", nonpositive="clip")
            axes.set_ylim(0.7, max(10, 1.5 * len(scores)))
            axes.yaxis.set_major_locator(_one_and_most(len(scores)))
            axes.yaxis.set_major_formatter("{x:.0f}")
            axes.minorticks_off()
            axes.annotate(
                plain(name), (0.5, 0.82), xycoords="axes fraction", ha="center", va="center", fontsize=9, bbox=label
            )
            for at in {run.params.thresholds.nok_at, run.params.thresholds.ok_below}:
                axes.axvline(at, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        grid[-1, 0].set(xlabel="defect score (dashed: threshold); images, log scale", xlim=(-0.01, 1.01))
        return uri(figure)


def _one_and_most(most: int) -> Any:  # noqa: ANN401  (matplotlib's locator)
    from matplotlib.ticker import FixedLocator

    return FixedLocator([1, most])
