"""The report of measurements: one self-contained HTML file, or its plots as SVG and PNG."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from edgetl.bench import history
from edgetl.files import write_whole
from edgetl_runtime.bench import text
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from edgetl_runtime.bench.measuring import Comparison
    from edgetl_runtime.bench.record import Record


def figures(records: Sequence[Record], comparison: Comparison | None = None) -> dict[str, Figure]:
    """Return name → plot; those that the records say nothing about are left out."""
    from edgetl.bench import plots

    newest = list(records)[-plots.MOST_CURVES :]
    found: dict[str, Figure] = {}
    if comparison is not None and comparison.differences:
        found["pairs"] = plots.pairs(comparison)
    found["distribution"] = plots.distribution(newest)
    found["rounds"] = plots.over_rounds(newest)
    if (front := plots.front(records)) is not None:
        found["pareto"] = front
    # A and B of a comparison are no history
    long = [] if comparison is not None else [one for one in history.series(records) if len(one.p50_ms) > 1]
    found |= {f"trend-{index}": plots.trend(one) for index, one in enumerate(long)}
    return found


TITLES = {
    "pairs": "Every pair",
    "distribution": "Distribution, all rounds",
    "rounds": "Percentiles over rounds",
    "pareto": "Accuracy over latency; the line is the Pareto front",
    "trend": "History; a dashed line is a change of level",
}


def write_report(path: Path, *, records: Sequence[Record], comparison: Comparison | None = None) -> None:
    """Write the report, whole or not at all.

    Args:
        path: Of the HTML file.
        records: At least one, oldest first; A and B of a comparison.
        comparison: Puts its verdict on top.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from edgetl.bench.plots import image

    environment = Environment(loader=PackageLoader("edgetl.bench"), autoescape=True, undefined=StrictUndefined)
    content = {
        "verdict": None if comparison is None else comparison.verdict,
        "lines": [] if comparison is None else text.comparison_text(comparison).splitlines(),
        "records": [(text.record_text(record), record) for record in records],
        "header": history.HEADER,
        "rows": history.cells(records),
        "changes": history.changes(history.series(records)),
        "plots": [
            (TITLES[name.partition("-")[0]], base64.b64encode(image(figure, "svg")).decode())
            for name, figure in figures(records, comparison).items()
        ],
    }
    html = environment.get_template("bench.html").render(**content)
    write_whole(path, html.encode("utf-8", "replace"))


def write_plots(folder: Path, *, records: Sequence[Record], replace: bool) -> list[Path]:
    """Write every plot as SVG and PNG.

    Raises:
        UsageError: The folder exists and `replace` is not set.
    """
    from edgetl.bench.plots import image

    if folder.exists() and not (replace and folder.is_dir()):
        raise UsageError(f"--plots {folder}", "a new folder", "an existing one", fix="--force, or another name")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures(records).items():
        for kind in ("svg", "png"):
            path = folder / f"{name}.{kind}"
            path.write_bytes(image(figure, kind))
            written.append(path)
    return written
