"""`edgetl-runtime log`: what was deployed here, by whom, and with what result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl_runtime.install.options import add_root, device_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_root(parser)
    parser.add_argument("--last", type=int, default=20, metavar="N", help="only the last N entries; 0 prints all")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read the log."""
    entries = device_of(args).log.entries()
    kept = entries[-args.last :] if args.last > 0 else entries
    return {"schema": "edgetl.log/1", "entries": [{k: v for k, v in e.items() if k != "after"} for e in kept]}


def show(result: Mapping[str, Any]) -> str:
    """Return one line for each entry."""
    line = "{number:>4} {time} {deployment} {result:<11} {names} by {who}: {reason}"
    return "\n".join(
        line.format(**entry, names=f"{entry['source'] or '-'} -> {entry['target'] or '-'}")
        for entry in result["entries"]
    )
