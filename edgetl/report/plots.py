"""Plots of the report, as SVG data URIs; text stays text, so that every script a browser knows is shown."""

from __future__ import annotations

import base64
import contextlib
import io
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.report.predictions import reliability, roc_curve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgetl.report.predictions import Prediction
    from edgetl.run import Run

INK, FAINT, LINE = "#22303c", "#8b97a3", "#dfe4e9"
GOOD, DEFECT, ACCENT = "#2b6cb0", "#c2552d", "#1f7a4d"
WIDE, NARROW = (10.4, 3.4), (5.1, 3.7)
MOST_CLASSES = 24
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgetl",  # the same run gives the same file
    "text.parse_math": False,  # class names may hold dollar signs
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@contextlib.contextmanager
def plot_style() -> Iterator[None]:
    """Hold the look of every plot while one is drawn."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # only measured, not drawn, in the font that lacks them: the browser draws the text in its own
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_figure(size: tuple[float, float], **subplots: Any) -> tuple[Figure, Any]:  # noqa: ANN401  (Axes or an array of them)
    """Return a figure and its axes, without pyplot: nothing global, no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(**subplots)


def uri(figure: Figure) -> str:
    """Return a figure as an SVG in a data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def plain(text: str, most: int = 28) -> str:
    """Return text that XML can hold, shortened."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def training_curves(epochs: Sequence[Mapping[str, Any]], baseline: Mapping[str, Any] | None) -> str:
    """Plot loss and accuracy over the epochs of all phases; `baseline` becomes a level line."""
    with plot_style():
        figure, (left, right) = new_figure(WIDE, ncols=2)
        x = np.arange(1, len(epochs) + 1)
        for key, axes, colour, name in (
            ("train_loss", left, FAINT, "training loss"),
            ("val_log_loss", left, GOOD, "validation log-loss"),
            ("val_accuracy", right, GOOD, "validation accuracy"),
        ):
            axes.plot(x, [_finite(e.get(key)) for e in epochs], color=colour, label=name, linewidth=1.8, marker=".")
        for key, axes in (("val_log_loss", left), ("val_accuracy", right)):
            if baseline is not None:
                axes.axhline(_finite(baseline.get(key)), color=DEFECT, linestyle=(0, (4, 3)), label="frozen baseline")
            _mark_phases(axes, [str(e.get("phase", "")) for e in epochs])
            axes.set(xlabel="epoch, all phases", xlim=(0.5, len(epochs) + 0.5))
            axes.margins(y=0.12)
            axes.legend(
                loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, fontsize=9, borderaxespad=0.2, columnspacing=1.2
            )
            axes.xaxis.get_major_locator().set_params(integer=True)
        return uri(figure)


def _finite(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else math.nan


def _mark_phases(axes: Axes, phases: Sequence[str]) -> None:
    for index, name in enumerate(phases):
        if not index or name != phases[index - 1]:
            if index:
                axes.axvline(index + 0.5, color=FAINT, linewidth=0.8)
            at = (index + 0.6, 0.99)
            text = axes.annotate(plain(name), at, xycoords=("data", "axes fraction"), va="top", fontsize=9, color=FAINT)
            text.set_in_layout(False)  # a long name must not squeeze the plot


def roc(rows: Mapping[str, Sequence[Prediction]], run: Run) -> str:
    """Plot detection against overkill for every threshold, and where the run's threshold lies."""
    with plot_style():
        figure, axes = new_figure(NARROW)
        axes.plot([0, 1], [0, 1], color=LINE, linewidth=1)
        for split, colour in (("val", FAINT), ("test", GOOD)):
            curve = roc_curve(rows.get(split, ()))
            if curve is not None:
                area = (run.val if split == "val" else run.test)["auroc"]
                name = f"{'validation' if split == 'val' else split}, area {area:.3f}" if area is not None else split
                axes.step(curve[0], curve[1], where="post", color=colour, linewidth=1.8, label=name)
        test = run.test
        if test["n_good"] and test["n_defect"]:
            point = (test["overkill"] / test["n_good"], 1 - test["escapes"] / test["n_defect"])
            axes.plot(*point, "o", color=DEFECT, markersize=8, label="threshold of this run, test", clip_on=False)
        axes.set(xlabel="good parts rejected (overkill rate)", ylabel="defects found", xlim=(-0.01, 1), ylim=(0, 1.01))
        axes.legend(loc="lower right", fontsize=9)
        return uri(figure)


def score_histograms(rows: Sequence[Prediction], run: Run) -> str:
    """Plot the defect scores of test, one strip a class, with the thresholds across."""
    label = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    classes = [c for c in run.classes if any(r.label == c for r in rows)][:MOST_CLASSES]
    with plot_style():
        figure, grid = new_figure(
            (5.1, max(3.7, 0.62 * len(classes) + 0.7)), nrows=len(classes), sharex=True, squeeze=False
        )
        for axes, name in zip(grid[:, 0], classes, strict=True):
            scores = [r.defect_score for r in rows if r.label == name]
            colour = DEFECT if name in run.defect_classes else GOOD
            axes.hist(scores, bins=np.linspace(0, 1, 41), color=colour, alpha=0.85)
            axes.set_yscale("log", nonpositive="clip")
            axes.set_ylim(0.7, max(10, 1.5 * len(scores)))
            axes.yaxis.set_major_locator(_one_and_most(len(scores)))
            axes.yaxis.set_major_formatter("{x:.0f}")
            axes.minorticks_off()
            axes.annotate(
                plain(name), (0.5, 0.82), xycoords="axes fraction", ha="center", va="center", fontsize=9, bbox=label
            )
            for at in {run.thresholds.nok_at, run.thresholds.ok_below}:
                axes.axvline(at, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        grid[-1, 0].set(xlabel="defect score (dashed: threshold); images, log scale", xlim=(-0.01, 1.01))
        return uri(figure)


def _one_and_most(most: int) -> Any:  # noqa: ANN401  (matplotlib's locator)
    from matplotlib.ticker import FixedLocator

    return FixedLocator([1, most])


def reliability_diagram(rows: Sequence[Prediction]) -> str:
    """Plot how often the model is right against how sure it says it is."""
    with plot_style():
        figure, (axes, counts) = new_figure(NARROW, nrows=2, sharex=True, height_ratios=(3, 1))
        bins = reliability(rows)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
        axes.plot([b[0] for b in bins], [b[1] for b in bins], "o-", color=GOOD, linewidth=1.6, label="test")
        axes.set(ylabel="share right", ylim=(0, 1.05))
        axes.legend(loc="upper left", fontsize=9)
        counts.hist([r.score for r in rows], bins=np.linspace(0, 1, 11), color=GOOD, alpha=0.4)
        counts.set(xlabel="confidence", ylabel="images", xlim=(0, 1.02))
        return uri(figure)
