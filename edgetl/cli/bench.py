"""`edgetl bench BUNDLE`: accuracy and latency of the exact artifact; what the device runs, plus reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.api.measurement import measure
from edgetl.progress import Progress
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
    return measure(args, Progress()).to_mapping()


def show(result: Mapping[str, Any]) -> str:
    """Return the record in words."""
    return device.show(result)
