"""The picture of a choice: accuracy against p50, with the front and the bounds of the contract."""

from __future__ import annotations

import base64
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from edgetl.metrics import pareto_front
from edgetl.plotting import ACCENT, FAINT, GOOD, INK, WARM, new_figure, plain, plot_style, uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from edgetl.report.deployments import Deployment

MOST_LABELS = 9  # beyond, only the points of the front are named
ROW_PT, CHARACTER_PT = 12, 5.2
UPS_PT = (8, -18, 20, -30, 32, 44)  # where words are tried, above and below their point
AXES_PT = (660, 190)  # about; words need not be placed to the point


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One timed candidate.

    Attributes:
        label: Its id.
        accuracy: On validation, 0 to 1.
        p50_ms: Median from encoded image to decision.
        p99_ms: 99th percentile of the same.
        accepted: Whether it keeps the contract.
        chosen: Whether it ships.
    """

    label: str
    accuracy: float
    p50_ms: float
    p99_ms: float
    accepted: bool
    chosen: bool

    @property
    def colour(self) -> str:
        """Says whether it ships, could, or could not."""
        return colour_of(chosen=self.chosen, accepted=self.accepted)


def colour_of(*, chosen: bool, accepted: bool) -> str:
    """Return the colour of a candidate."""
    return ACCENT if chosen else GOOD if accepted else FAINT


def pareto_picture(marks: Sequence[Mark], *, untimed: int = 0, p99_bound_ms: float | None = None) -> str:
    """Plot accuracy against p50 and the front through the points that no other one beats.

    Args:
        marks: At least one.
        untimed: How many further candidates were not timed; said below the axis.
        p99_bound_ms: Of the contract, if it has one.

    Returns:
        An SVG as a data URI.
    """
    with plot_style():
        figure, axes = new_figure((10.4, 3.6))
        front = [marks[i] for i in pareto_front([(m.p50_ms, m.accuracy) for m in marks])]
        xs, ys = [m.p50_ms for m in front], [100 * m.accuracy for m in front]
        axes.step([*xs, max(m.p99_ms for m in marks) * 1.04], [*ys, ys[-1]], where="post", color=INK, linewidth=1,
                  alpha=0.5, label="front: nothing is both faster and more accurate")  # fmt: skip
        for mark in marks:
            _draw(axes, mark)
        _label(axes, marks if len(marks) <= MOST_LABELS else [m for m in marks if m in front or m.chosen])
        if p99_bound_ms is not None:
            axes.axvline(p99_bound_ms, color=WARM, linewidth=1.2, linestyle=(0, (4, 2)), label="p99 of the contract")
        note = f"; {untimed} not measured" if untimed else ""
        axes.set(xlabel=f"p50 from encoded image to decision, ms (thin bar: to p99{note})")
        axes.set(ylabel="accuracy on validation, %")
        axes.set_xlim(left=0)
        axes.margins(x=0.12, y=0.35)
        axes.set_yticks([t for t in axes.get_yticks() if t <= 100])
        axes.legend(loc="lower right", fontsize=9, frameon=True, facecolor="white", edgecolor="none")
        return uri(figure)


def _draw(axes: Axes, mark: Mark) -> None:
    accuracy = 100 * mark.accuracy
    axes.plot([mark.p50_ms, mark.p99_ms], [accuracy, accuracy], color=mark.colour, linewidth=1.4, alpha=0.5)
    face = mark.colour if mark.accepted else "white"
    axes.plot([mark.p50_ms], [accuracy], "o", color=mark.colour, markersize=8, markerfacecolor=face)


def _label(axes: Axes, marks: Sequence[Mark]) -> None:
    """Name points above them, in the first row where the words meet no other words and no other point."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    at_pt = {
        m: ((m.p50_ms - left) / (right - left) * AXES_PT[0], (100 * m.accuracy - low) / (high - low) * AXES_PT[1])
        for m in marks
    }
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at_pt.values()]
    for mark in sorted(marks, key=lambda m: m.p50_ms):
        words = plain(mark.label, 44) + (" (chosen)" if mark.chosen else "" if mark.accepted else " (rejected)")
        x, y = at_pt[mark]
        width = CHARACTER_PT * len(words)
        begin = x if x + width < AXES_PT[0] else x - width
        boxes = [(row, (begin, y + up, begin + width, y + up + ROW_PT)) for row, up in enumerate(UPS_PT)]
        row, box = next((b for b in boxes if not any(_meet(b[1], other) for other in taken)), boxes[0])
        taken.append(box)
        axes.annotate(
            words,
            (mark.p50_ms, 100 * mark.accuracy),
            fontsize=9,
            color=mark.colour,
            xytext=(0, UPS_PT[row]),
            textcoords="offset points",
            ha="left" if begin == x else "right",
        )


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def accuracy_latency(deployment: Deployment) -> str:
    """Plot the candidates of a deployment: accuracy over p50 where it was measured, else accuracy alone."""
    timed = [c for c in deployment.candidates if c.p50_ms is not None]
    if not timed:
        with plot_style():
            return _bars(deployment)
    marks = [
        Mark(
            label=c.id,
            accuracy=c.accuracy,
            p50_ms=c.p50_ms or 0.0,
            p99_ms=(c.p99_ms if c.p99_ms is not None else c.p50_ms) or 0.0,
            accepted=c.accepted,
            chosen=c.chosen,
        )
        for c in timed
    ]
    return pareto_picture(marks, untimed=len(deployment.candidates) - len(timed), p99_bound_ms=deployment.p99_bound_ms)


def _bars(deployment: Deployment) -> str:
    rows = deployment.candidates[::-1]
    figure, axes = new_figure((10.4, max(1.6, 0.42 * len(rows) + 0.9)))
    colours = [colour_of(chosen=c.chosen, accepted=c.accepted) for c in rows]
    at = np.arange(len(rows))
    axes.barh(at, [100 * c.accuracy for c in rows], color=colours, height=0.6)
    axes.set_yticks(at, [plain(c.id, 44) for c in rows])
    for y, c in zip(at, rows, strict=True):
        axes.annotate(
            f"{100 * c.accuracy:.2f} %",
            (100 * c.accuracy, y),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="accuracy on validation, % (latency not measured on hardware)", xlim=(0, 112))
    axes.set_xticks([0, 25, 50, 75, 100])
    return uri(figure)


def svg_bytes(picture: str) -> bytes:
    """Return the file inside a data URI.

    Example:
        >>> svg_bytes("data:image/svg+xml;base64,PHN2Zy8+")
        b'<svg/>'
    """
    return base64.b64decode(picture.partition(",")[2])
