"""`edgetl-runtime rollback`: end the trial, or go back to the generation committed before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl_runtime.install.options import add_root, clean_stop, device_of, summary, words

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_root(parser)
    parser.add_argument("--reason", default="by hand", help="for the deployment log")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Change the state, durably."""
    device = device_of(args)
    with clean_stop():
        state = device.rollback(reason=args.reason)
    return {"schema": "edgetl.rollback/1", **summary(device, state)}


def show(result: Mapping[str, Any]) -> str:
    """Return one line."""
    return words(dict(result))
