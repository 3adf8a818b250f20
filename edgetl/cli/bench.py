"""`edgetl bench BUNDLE`: accuracy and latency of the exact artifact; what the device runs, plus reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bench import options
from edgetl_runtime.cli import bench as device

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: the device's own, a report, and the device to run on."""
    device.add_arguments(parser)
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="distribution and percentiles over rounds")
    parser.add_argument("--host", metavar="USER@HOST", help="measure there, over SSH, with its own edgetl-runtime")
    parser.add_argument("--runtime", default="edgetl-runtime", metavar="COMMAND", help="what it is called there")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Measure here or on the device; write the report."""
    from edgetl.progress import Progress

    options.check_out("--report", args.report, force=args.force)
    if args.host is not None:
        from edgetl.bench.remote import bench_on

        result, record = bench_on(args)
    else:
        with Progress().stage("measure", unit="round") as advance:
            result, record = device.measured(args, advance)
    if args.report is not None:
        from edgetl.bench.report import write_report

        write_report(args.report, records=[record])
    return {**result, "report": None if args.report is None else str(args.report)}


def show(result: Mapping[str, Any]) -> str:
    """Return the record in words."""
    return device.show(result)
