"""Measure: `edgetl.bench`, and what the command does with its options."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.api.calls import AnyPath, calling
from edgetl.api.progress import ProgressOption, progress_of
from edgetl.api.results import Measured

if TYPE_CHECKING:
    from edgetl.progress import Progress

PATHS = ("bundle", "data", "out", "summary", "report")


def bench(
    bundle: AnyPath,
    *,
    variant: str | None = None,
    backend: str | None = None,
    rounds: int = 10,
    out: AnyPath | None = None,
    summary: AnyPath | None = None,
    force: bool = False,
    data: AnyPath | None = None,
    iterations: int = 100,
    seconds: float = 1.0,
    warmup: float = 5.0,
    rate: float | None = None,
    deadline_ms: float | None = None,
    neighbours: int = 0,
    cache_dir: AnyPath | None = None,
    allow_disturbed: bool = False,
    p50_ms: float | None = None,
    p99_ms: float | None = None,
    max_memory_mb: float | None = None,
    max_start_ms: float | None = None,
    max_late_pct: float | None = None,
    max_escapes: int | None = None,
    max_overkill: int | None = None,
    report: AnyPath | None = None,
    host: str | None = None,
    runtime: str = "edgetl-runtime",
    progress: ProgressOption = "bars",
) -> Measured:
    """Measure latency, and accuracy where images are labelled, of the exact artifact in fresh processes.

    The bundle's own contract holds besides the limits given.

    Args:
        bundle: The .edgetl file.
        variant: Id of a variant; None takes the bundle's choice.
        backend: Take the first variant of this backend.
        rounds: Rounds, each in a fresh process.
        out: File for the record with every sample; `NAME.json.gz` packs it.
        summary: File for the result as Markdown.
        force: Replace existing files.
        data: Folder of images, one subfolder per class for accuracy; None takes the golden images.
        iterations: Fewest decisions to time in a round.
        seconds: Shortest time to measure in a round.
        warmup: Longest warm-up in seconds; it ends when times are steady.
        rate: Parts arrive at this many per second; latency counts from the intended arrival.
        deadline_ms: With `rate`: a later decision is late; None takes the time between two parts.
        neighbours: Other processes that decide at the same time.
        cache_dir: Where the backend may keep compiled code between starts.
        allow_disturbed: Count disturbed rounds, and say so in the result.
        p50_ms: Limit on the median from encoded image to decision, in milliseconds.
        p99_ms: Limit on the 99th percentile of it.
        max_memory_mb: Limit on the resident memory of the deciding process, in MB.
        max_start_ms: Limit on the time from process start to first decision.
        max_late_pct: Limit on the share of late decisions in the open loop, in per cent.
        max_escapes: Limit on defective parts passed.
        max_overkill: Limit on good parts rejected.
        report: HTML file for people.
        host: Measure there, over SSH, with its own edgetl-runtime.
        runtime: What it is called there.
        progress: As for `edgetl.finetune`.

    Returns:
        What was measured. `ok` is true only where every limit is known to be kept; `require()` raises otherwise.

    Raises:
        UsageError: An option or a value is wrong.
        UnfitError: The machine is too busy to measure on.
        InUseError: Another call is at work.

    Example:
        >>> edgetl.bench("screws.edgetl", p99_ms=8, rounds=3).require().summary["decision_ms"]["p99"]  # doctest: +SKIP
        3.41
    """
    given = locals()
    with calling("edgetl.bench"):
        found = {name: value for name, value in given.items() if name != "progress"}
        paths = {name: Path(found[name]) for name in PATHS if found[name] is not None}
        cache = None if cache_dir is None else os.fspath(cache_dir)
        return measure(argparse.Namespace(**found | paths | {"cache_dir": cache}), progress_of(progress))


def measure(args: argparse.Namespace, progress: Progress) -> Measured:
    """Measure here or on the device, and write the report.

    Args:
        args: The options of `bench`, under their names.
        progress: Shows the rounds.
    """
    from edgetl_runtime.bench import options
    from edgetl_runtime.cli import bench as device

    options.check_out("--report", args.report, force=args.force)
    if args.host is not None:
        from edgetl.bench.remote import bench_on

        result, record = bench_on(args)
    else:
        with progress.stage("measure", unit="round") as advance:
            result, record = device.measured(args, advance)
    if args.report is not None:
        from edgetl.bench.report import write_report

        write_report(args.report, records=[record])
    return Measured(
        json={**result, "report": None if args.report is None else str(args.report)},
        bundle=args.bundle,
        variant=result["variant"],
        summary=result["summary"],
        accuracy=result["accuracy"],
        broken=tuple(result["broken"]),
        unknown=tuple(result["unknown"]),
        record=args.out,
        report=args.report,
    )
