"""The look of plots, as SVG data URIs; text stays text, so that every script a browser knows is shown."""

from __future__ import annotations

import base64
import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

INK, FAINT, LINE = "#22303c", "#8b97a3", "#dfe4e9"
GOOD, WARM, ACCENT = "#2b6cb0", "#c2552d", "#1f7a4d"
WIDE, NARROW = (10.4, 3.4), (5.1, 3.7)
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
