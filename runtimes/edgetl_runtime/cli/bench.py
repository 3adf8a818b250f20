"""`edgetl-runtime bench`: accuracy and latency of the exact artifact, in fresh processes, in one record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bench import options
from edgetl_runtime.errors import ContractError, UnfitError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from edgetl_runtime.bench.record import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the .edgetl file")
    parser.add_argument("--variant", help="id of a variant; default is the bundle's choice")
    parser.add_argument("--backend", help="use the first variant of this backend")
    parser.add_argument(
        "--rounds", type=int, default=10, metavar="R", help="rounds, each in a fresh process; default 10"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the record with every sample; compressed if named .json.gz"
    )
    parser.add_argument("--summary", type=Path, metavar="FILE", help="the result as Markdown")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    options.add_round_options(parser)
    options.add_limit_options(parser, against=False)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure; the result is the interface of `--json`."""
    return measured(args)[0]


def measured(
    args: argparse.Namespace, progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, Any], Record]:
    """Measure, write what was asked for, hold it to the limits; return what `--json` prints, and the record."""
    from edgetl_runtime.bench import limits, measuring, rounds, text
    from edgetl_runtime.bench.record import write_record

    for option, path in (("--out", args.out), ("--summary", args.summary)):
        options.check_out(option, path, force=args.force)
    settings, bounds = options.settings(args), options.limits(args)
    target = rounds.target(args.bundle, variant=args.variant, backend=args.backend)
    record = measuring.bench(target, data=args.data, rounds=args.rounds, settings=settings, progress=progress)
    if args.out is not None:
        write_record(args.out, record)
    if args.summary is not None:
        args.summary.write_text(text.record_markdown(record), encoding="utf-8")
    broken, unknown = limits.judge(limits.of(record, bounds), record)
    accuracy = record.accuracy and {k: v for k, v in record.accuracy.items() if k not in ("labels", "verdicts")}
    result = {
        "schema": "edgetl.bench.result/1",
        "exit": ContractError.exit_code if broken else UnfitError.exit_code if unknown else 0,
        "bundle": str(args.bundle),
        "variant": record.bundle.variant,
        "backend": record.bundle.backend,
        "task": record.bundle.task,
        "verdict": record.verdict,
        "summary": record.summary,
        "accuracy": accuracy,
        "size_bytes": record.bundle.size_bytes,
        "broken": broken,
        "unknown": unknown,
        "discarded": [list(r.disturbed) for r in record.discarded],
        "fingerprint": record.environment["fingerprint"],
        "record": None if args.out is None else str(args.out),
        "text": text.record_text(record),
    }
    return result, record


def show(result: Mapping[str, Any]) -> str:
    """Return the record in words, then the limits."""
    lines = [result["text"]]
    lines += [f"limit broken: {words}" for words in result["broken"]]
    lines += [f"limit not judged: {words}" for words in result["unknown"]]
    if result["record"]:
        lines.append(f"every sample is in {result['record']}")
    return "\n".join(lines)
