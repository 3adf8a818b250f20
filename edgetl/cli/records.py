"""`edgetl records FILE_OR_DIR…`: many records at once: table, Pareto front, history with change points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bench import options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("records", metavar="RECORD", type=Path, nargs="+", help="files of 'bench --out', or folders of them")
    add("--report", type=Path, metavar="FILE.html", help="all of it as one HTML file")
    add("--plots", type=Path, metavar="DIR", help="every plot as SVG and PNG, into a new folder")
    add("--summary", type=Path, metavar="FILE", help="the table as Markdown")
    add("--force", action="store_true", help="replace existing files")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Read the records; write what was asked for."""
    from edgetl.bench import history, report
    from edgetl_runtime.schema import to_mapping

    for option, path in (("--report", args.report), ("--summary", args.summary)):
        options.check_out(option, path, force=args.force)
    records = history.read_all(args.records)
    if args.report is not None:
        report.write_report(args.report, records=records)
    if args.plots is not None:
        report.write_plots(args.plots, records=records, replace=args.force)
    if args.summary is not None:
        args.summary.write_text(history.markdown(records), encoding="utf-8")
    return {
        "schema": "edgetl.records/1",
        "records": to_mapping(history.rows(records)),
        "series": to_mapping(history.series(records)),
        "text": history.text(records),
    }


def show(result: Mapping[str, Any]) -> str:
    """Return the table in words."""
    return str(result["text"])
