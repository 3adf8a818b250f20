"""`edgetl-runtime gc`: recover, then remove what no generation needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl_runtime.install.options import add_root, clean_stop, device_of, summary, words

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_root(parser)
    parser.add_argument(
        "--previous", action="store_true", help="also remove the previous generation, and with it the way back"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Recover and sweep."""
    import dataclasses

    device = device_of(args)
    with clean_stop(), device.locked("GC") as state:
        if args.previous and state.previous is not None:
            device.save(dataclasses.replace(state, previous=None))
        removed = device.sweep(engines=True)
        return {"schema": "edgetl.gc/1", "removed": removed, **summary(device, device.state)}


def show(result: Mapping[str, Any]) -> str:
    """Return what was removed."""
    return "\n".join([*(f"removed {name}" for name in result["removed"]), words(dict(result))])
