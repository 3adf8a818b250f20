"""`edgetl-runtime service run|print`: the station's service, and its systemd unit."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.cli import driver
from edgetl_runtime.install.options import add_root, device_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run_it = actions.add_parser("run", help="decide on the images that arrive in a folder, until stopped")
    print_it = actions.add_parser("print", help="print the systemd unit for this interpreter and these folders")
    for action in (run_it, print_it):
        add_root(action)
        action.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder in which images arrive")
        action.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results")
    run_it.add_argument("--trial-seconds", type=float, default=60.0, help="shortest duration of a trial; default 60")
    run_it.add_argument("--trial-inferences", type=int, default=200, help="fewest decisions of a trial; default 200")
    words = "user that the service runs as; default the owner of --root, or edgetl"
    print_it.add_argument("--user", metavar="NAME", help=words)
    print_it.add_argument("--memory-max", default="75%", help="as systemd's MemoryMax; default 75%%")
    print_it.add_argument("--network", action="store_true", help="let it reach the network, which it does not need")
    words = "let it reach the GPU; default where NVIDIA's device files are"
    print_it.add_argument("--gpu", action=argparse.BooleanOptionalAction, help=words)
    words = "let it see home and temporary folders: for a desk, not for a station"
    print_it.add_argument("--allow-home", action="store_true", help=words)
    driver.share_options(actions.choices.values())


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run or print."""
    return _print(args) if args.action == "print" else _serve(args)


def _print(args: argparse.Namespace) -> dict[str, Any]:
    from edgetl_runtime.install.unit import UnitOptions, make_unit

    options = UnitOptions(
        user=args.user, memory_max=args.memory_max, network=args.network, gpu=args.gpu, allow_home=args.allow_home
    )
    made = make_unit(root=device_of(args).root, images=args.images, out=args.out, options=options)
    return {
        "schema": "edgetl.service/1",
        "action": "print",
        "unit": made.text,
        "setup": list(made.setup),
        "notes": list(made.notes),
    }


def _serve(args: argparse.Namespace) -> dict[str, Any]:
    from edgetl_runtime.install import service
    from edgetl_runtime.install.evidence import Evidence
    from edgetl_runtime.install.live_session import LiveSession

    device = device_of(args)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    live = LiveSession(device, trial_seconds=args.trial_seconds, trial_inferences=args.trial_inferences)
    # the folders first: a start that they prevent is none of the three that a trial has
    with _told_on_stderr(), Evidence(args.images, args.out) as evidence, contextlib.closing(live):
        count = 0
        if service.opened(live, stop=stopped.is_set):
            count = service.serve(live, evidence, stop=stopped.is_set)
        swaps = len(live.swaps)
    return {"schema": "edgetl.service/1", "action": "run", "decided": count, "swaps": swaps}


@contextlib.contextmanager
def _told_on_stderr() -> Iterator[None]:
    """Let what happens to the service be read, with its time in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    logger = logging.getLogger("edgetl_runtime")
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


def show(result: Mapping[str, Any]) -> str:
    """Return the unit, or what was done."""
    if result["action"] == "print":
        return str(result["unit"]).rstrip("\n")
    return f"decided on {result['decided']} images, {result['swaps']} swaps of generation"
