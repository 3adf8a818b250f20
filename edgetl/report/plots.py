"""Plots of the report that every task has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.plotting import FAINT, GOOD, NARROW, WARM, WIDE, new_figure, plain, plot_style, uri
from edgetl.report.predictions import reliability

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from edgetl.report.predictions import Prediction


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
                axes.axhline(_finite(baseline.get(key)), color=WARM, linestyle=(0, (4, 3)), label="frozen baseline")
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
