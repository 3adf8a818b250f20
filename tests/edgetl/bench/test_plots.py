"""Plots draw what the records hold: the curves' data are compared, not the pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgetl.bench import history, plots
from edgetl_runtime.bench.compare import compare_rounds
from edgetl_runtime.bench.harness import Harness
from edgetl_runtime.bench.measuring import Comparison
from edgetl_runtime.bench.statistics import Design

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl_runtime.bench.record import Record


def test_distribution_shows_the_share_that_took_longer(make: Callable[..., Record]) -> None:
    (line,) = plots.distribution([make(5.0)]).axes[0].lines
    x, y = line.get_xdata(), line.get_ydata()
    assert len(x) == 305
    assert y[np.searchsorted(x, 5.0)] == pytest.approx(0.49, abs=0.02)


def test_over_rounds_draws_p50_and_p90_of_every_round(make: Callable[..., Record]) -> None:
    lines = plots.over_rounds([make(5.0), make(6.0)]).axes[0].lines
    assert [round(float(np.median(line.get_ydata())), 2) for line in lines] == [5.0, 5.12, 6.0, 6.14]


def test_pairs_draws_each_pair_and_the_estimate(make: Callable[..., Record]) -> None:
    outcome = compare_rounds(Harness({"A": 5.0, "B": 5.5}).pair)
    found = Comparison(
        verdict=outcome.verdict,
        metrics=outcome.metrics,
        how="interleaved",
        a=make(5.0),
        b=make(5.5),
        design=Design(),
        differences=outcome.differences,
    )
    axes = plots.pairs(found).axes[0]
    points = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(points[:, 1], 100 * np.expm1(outcome.differences["decision"]))


def test_front_needs_accuracies(make: Callable[..., Record]) -> None:
    assert plots.front([make(1.0)]) is None
    figure = plots.front([make(1.0, accuracy=0.9), make(2.0, accuracy=0.8), make(3.0, accuracy=0.95)])
    assert figure is not None
    assert list(figure.axes[0].lines[0].get_xdata()) == [1.0, 3.0]


def test_trend_marks_changes(make: Callable[..., Record]) -> None:
    values = [5.0, 5.01, 4.99, 5.0, 5.02, 5.5, 5.49, 5.51, 5.5, 5.52]
    (one,) = history.series([make(value, day=i + 1) for i, value in enumerate(values)])
    lines = plots.trend(one).axes[0].lines
    assert [line.get_xdata()[0] for line in lines[1:]] == [4.5]


@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_image_gives_equal_bytes_for_equal_figures(make: Callable[..., Record], kind: str, start: bytes) -> None:
    first, second = (plots.image(plots.over_rounds([make(5.0)]), kind) for _ in range(2))
    assert first.startswith(start)
    assert first == second
    assert b"mathdefault" not in first
