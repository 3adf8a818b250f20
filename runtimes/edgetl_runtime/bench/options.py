"""The options that `bench` and `compare` share, on the host and on the device."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from edgetl_runtime.bench.limits import Limits
    from edgetl_runtime.bench.rounds import Settings


def add_round_options(parser: argparse.ArgumentParser) -> None:
    """Declare how rounds are run."""
    add = parser.add_argument_group("rounds").add_argument
    add("--data", type=Path, metavar="DIR", help="images, one subfolder per class for accuracy; default golden images")
    add("--iterations", type=int, default=100, metavar="N", help="fewest decisions to time in a round; default 100")
    add("--seconds", type=float, default=1.0, metavar="S", help="shortest time to measure in a round; default 1")
    add(
        "--warmup",
        type=float,
        default=5.0,
        metavar="S",
        help="longest warm-up; it ends when times are steady; default 5",
    )
    add("--rate", type=float, metavar="HZ", help="parts arrive at this rate; latency counts from the intended arrival")
    add("--deadline-ms", type=float, help="with --rate: a later decision is late; default the time between parts")
    add("--neighbours", type=int, default=0, metavar="N", help="other processes that decide at the same time")
    add("--cache-dir", metavar="DIR", help="where the backend may keep compiled code between starts")
    add("--allow-disturbed", action="store_true", help="count disturbed rounds; the result says so")


def add_limit_options(parser: argparse.ArgumentParser, *, against: bool) -> None:
    """Declare absolute limits; `against` adds those that need a second bundle."""
    add = parser.add_argument_group("limits, in addition to those of the bundle's contract").add_argument
    add("--p50-ms", type=float, help="from encoded image to decision")
    add("--p99-ms", type=float, help="from encoded image to decision")
    add("--max-memory-mb", type=float, help="resident memory of the deciding process")
    add("--max-start-ms", type=float, help="process start to first decision")
    add("--max-late-pct", type=float, help="with --rate: share of late decisions, per cent")
    add("--max-escapes", type=int, help="defective parts passed")
    add("--max-overkill", type=int, help="good parts rejected")
    if against:
        add("--max-drop-pp", type=float, help="accuracy loss against A, percentage points")
        add("--max-flips-pct", type=float, help="share of decisions that differ from A's, per cent")


def settings(args: argparse.Namespace) -> Settings:
    """Return how rounds are run."""
    from edgetl_runtime.bench.rounds import Settings

    return Settings(
        iterations=args.iterations,
        seconds=args.seconds,
        warmup_s=args.warmup,
        rate_hz=args.rate,
        deadline_ms=args.deadline_ms,
        neighbours=args.neighbours,
        cache_dir=args.cache_dir,
        allow_disturbed=args.allow_disturbed,
    )


def limits(args: argparse.Namespace) -> Limits:
    """Return the limits given."""
    from edgetl_runtime.bench.limits import Limits

    names = [field.name for field in dataclasses.fields(Limits)]
    return Limits(**{name: getattr(args, name, None) for name in names})


def check_out(option: str, path: Path | None, *, force: bool) -> None:
    """Refuse an output path that cannot be written, before anything is measured.

    Raises:
        UsageError: It exists and `--force` was not given, or its folder does not exist.
    """
    if path is None:
        return
    if path.is_dir() or (path.exists() and not force):
        fix = "--force to replace it, or another name"
        raise UsageError(f"{option} {path}", "a new file", "an existing one", fix=fix)
    if not path.resolve().parent.is_dir():
        raise UsageError(f"{option} {path}", "in an existing folder", "a missing one", fix=f"mkdir -p {path.parent}")
