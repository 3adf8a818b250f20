"""`edgetl compare A B`: is B slower than A? What the device runs, plus a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bench import options
from edgetl_runtime.cli import compare as device

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: the device's own and a report."""
    device.add_arguments(parser)
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="both distributions, every pair, the verdict")


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Compare; write the report."""
    from edgetl.progress import Progress

    options.check_out("--report", args.report, force=args.force)
    with Progress().stage("compare", unit="pair") as advance:
        result, found = device.compared(args, advance)
    if args.report is not None:
        from edgetl.bench.report import write_report

        write_report(args.report, records=[found.a, found.b], comparison=found)
    return {**result, "report": None if args.report is None else str(args.report)}


def show(result: Mapping[str, Any]) -> str:
    """Return the comparison in words."""
    return device.show(result)
