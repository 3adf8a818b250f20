"""`edgetl-runtime service run|print`: the station's service, and its systemd unit."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.cli import driver
from edgetl_runtime.errors import UsageError
from edgetl_runtime.install.options import add_root, device_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run_it = actions.add_parser("run", help="decide on the images that arrive in a folder, until stopped")
    print_it = actions.add_parser("print", help="print the systemd unit for this interpreter and these folders")
    for action in (run_it, print_it):
        add_root(action)
        action.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder in which images arrive")
        action.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results")
    run_it.add_argument("--trial-seconds", type=float, default=60.0, help="a trial lasts at least so long")
    run_it.add_argument("--trial-inferences", type=int, default=200, help="and for at least so many decisions")
    print_it.add_argument("--memory-max", default="75%", help="as systemd's MemoryMax; default 75%%")
    driver.share_options(actions.choices.values())


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run or print."""
    from edgetl_runtime.install import service

    device = device_of(args)
    if args.action == "print":
        text = service.unit(root=device.root, images=args.images, out=args.out, memory_max=args.memory_max)
        return {"schema": "edgetl.service/1", "action": "print", "unit": text}
    from edgetl_runtime.install.live import LiveSession

    if not args.images.is_dir():
        raise UsageError(f"--images {args.images}", "a folder", "none", fix=f"mkdir -p {args.images}")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with LiveSession(device, trial_seconds=args.trial_seconds, trial_inferences=args.trial_inferences) as live:
        count = service.serve(live, args.images, args.out, stop=stopped.is_set)
        swaps = len(live.swaps)
    return {"schema": "edgetl.service/1", "action": "run", "decided": count, "swaps": swaps}


def show(result: Mapping[str, Any]) -> str:
    """Return the unit, or what was done."""
    if result["action"] == "print":
        return str(result["unit"]).rstrip("\n")
    return f"decided on {result['decided']} images, {result['swaps']} swaps of generation"
