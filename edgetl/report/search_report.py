"""The report of a search: one self-contained HTML file with the front, the choice and what was rejected early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl.files import write_whole
from edgetl.report.pareto import Mark, pareto_picture, svg_bytes
from edgetl.report.run_report import render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_search_report(out: Path, result: Mapping[str, Any]) -> Path:
    """Write OUT/report.html and the picture alone as OUT/front.svg.

    Args:
        out: Folder of the search.
        result: What `edgetl search --json` prints.

    Returns:
        The path of the report.
    """
    picture = _picture(result)
    if picture:
        write_whole(out / "front.svg", svg_bytes(picture))
    html = render({"result": result, "picture": picture, "timed": _timed(result)}, template="search.html")
    write_whole(out / "report.html", html.encode("utf-8", "replace"))
    return out / "report.html"


def _timed(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [p for p in result["points"] if p["p50_ms"] is not None]


def _picture(result: Mapping[str, Any]) -> str:
    timed = _timed(result)
    marks = [
        Mark(
            label=p["id"],
            accuracy=p["accuracy"],
            p50_ms=p["p50_ms"],
            p99_ms=p["p50_ms"] if p["p99_ms"] is None else p["p99_ms"],
            accepted=p["accepted"],
            chosen=p["chosen"],
        )
        for p in timed
    ]
    untimed = len(result["points"]) - len(timed)
    return pareto_picture(marks, untimed=untimed, p99_bound_ms=result["contract"]["p99_ms"]) if marks else ""
