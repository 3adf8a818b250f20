"""Plots of measurements; each is a matplotlib figure, to be written as SVG or PNG."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.metrics import pareto_front
from edgetl.plotting import ACCENT, FAINT, GOOD, STYLE, WARM
from edgetl_runtime.bench.record import pooled
from edgetl_runtime.measure import percentile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

    from edgetl.bench.history import Series
    from edgetl_runtime.bench.measuring import Comparison
    from edgetl_runtime.bench.record import Record

SIZE = (7.6, 3.4)
COLOURS = (GOOD, WARM, ACCENT, "#7a5195", "#8b6914", "#444444")
MOST_CURVES = len(COLOURS)


@contextlib.contextmanager
def _drawing() -> Iterator[tuple[Figure, Any]]:
    import matplotlib as mpl
    from matplotlib.figure import Figure  # without pyplot: nothing global, no display

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        yield figure, figure.subplots()


def _plain_numbers(axes: Any) -> None:  # noqa: ANN401  (untyped)
    """Write 40 rather than a power: mathematical text is off, because names may hold dollar signs."""
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.tick_params(axis="y", which="minor", labelsize=7)


def name_of(record: Record) -> str:
    """Return how a record is called in a legend."""
    return f"{record.bundle.name} {record.bundle.variant}"


def distribution(records: Sequence[Record]) -> Figure:
    """Draw the share of decisions that took longer, over latency: a histogram hides tails."""
    with _drawing() as (figure, axes):
        for record, colour in zip(records, COLOURS, strict=False):
            samples = np.sort(pooled(record.rounds, "decision"))
            longer = 1 - np.arange(len(samples)) / len(samples)
            axes.step(samples, longer, where="post", color=colour, label=name_of(record))
        axes.set(xlabel="image to decision, ms", ylabel="share that took longer", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend()
    return figure


def over_rounds(records: Sequence[Record]) -> Figure:
    """Draw p50, p90 and the slowest of every round: a machine that heats up or drifts is seen here."""
    with _drawing() as (figure, axes):
        for record, colour in zip(records, COLOURS, strict=False):
            order = [r.index + 1 for r in record.rounds]
            for percent, style in ((50, "-"), (90, "--")):
                values = [percentile(r.decision_ms, percent) or math.nan for r in record.rounds]
                axes.plot(order, values, style, marker=".", color=colour, label=f"{name_of(record)} p{percent}")
            axes.scatter(order, [max(r.decision_ms) for r in record.rounds], marker="_", color=colour, alpha=0.5)
        axes.set(xlabel="round, in the order they ran (bars: slowest decision)", ylabel="ms", yscale="log")
        _plain_numbers(axes)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=8)
    return figure


def pairs(found: Comparison) -> Figure:
    """Draw the change of every pair with the estimate, its bounds and what does not matter."""
    with _drawing() as (figure, axes):
        for (name, differences), colour in zip(found.differences.items(), COLOURS, strict=False):
            percent = 100 * np.expm1(np.asarray(differences))
            axes.scatter(np.arange(1, len(percent) + 1), percent, color=colour, s=18, label=f"{name}, each pair")
            judgement = found.metrics[name]
            axes.axhline(100 * judgement.estimate, color=colour, label=f"estimate {judgement.estimate:+.1%}")
            if math.isfinite(judgement.lower) and math.isfinite(judgement.upper):
                axes.axhspan(100 * judgement.lower, 100 * judgement.upper, color=colour, alpha=0.15)
        axes.axhline(100 * found.design.margin, color=FAINT, linestyle="--", label=f"margin {found.design.margin:+.0%}")
        axes.axhline(0, color=FAINT)
        axes.set(xlabel="pair", ylabel="B slower than A, %")
        axes.legend(fontsize=8)
    return figure


def front(records: Sequence[Record]) -> Figure | None:
    """Draw accuracy over latency with the Pareto front; None where no record has an accuracy."""
    rated = [r for r in records if r.accuracy is not None]
    if not rated:
        return None
    points = [(r.summary["decision_ms"]["p50"], (r.accuracy or {})["accuracy"]) for r in rated]
    best = pareto_front(points)
    with _drawing() as (figure, axes):
        axes.step(*zip(*(points[place] for place in best), strict=True), where="post", color=GOOD)
        for place, (record, (x, y)) in enumerate(zip(rated, points, strict=True)):
            axes.scatter([x], [y], color=GOOD if place in best else FAINT)
            axes.annotate(name_of(record), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)
        axes.set(xlabel="image to decision, p50 ms", ylabel="accuracy")
    return figure


def trend(one: Series) -> Figure:
    """Draw a series of records with its levels; a change of level is a vertical line."""
    with _drawing() as (figure, axes):
        order = np.arange(len(one.p50_ms))
        axes.plot(order, one.p50_ms, ".-", color=GOOD)
        edges = [0, *one.changes, len(one.p50_ms)]
        for start, end in itertools.pairwise(edges):
            axes.hlines(float(np.median(one.p50_ms[start:end])), start, end - 1, color=ACCENT)
        for at in one.changes:
            axes.axvline(at - 0.5, color=WARM, linestyle="--")
        axes.set_xticks(order[:: max(1, len(order) // 8)])
        axes.set_xticklabels([one.created[i][:10] for i in order[:: max(1, len(order) // 8)]])
        axes.set(ylabel="image to decision, p50 ms", title=f"{one.line} {one.variant}, {one.cpu}")
        axes.set_ylim(bottom=0)
    return figure


def image(figure: Figure, kind: str) -> bytes:
    """Return a figure as `svg` or `png`."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {}
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=144, facecolor="white" if kind == "png" else "none")
    return buffer.getvalue()
