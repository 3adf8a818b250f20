"""Options that the commands of a device share."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edgetl_runtime.install.device import Device
    from edgetl_runtime.install.state import State


def add_root(parser: argparse.ArgumentParser) -> None:
    """Declare `--root`."""
    words = "folder of the device's generations; default $EDGETL_ROOT, else /var/lib/edgetl"
    parser.add_argument("--root", type=Path, metavar="DIR", help=words)


def device_of(args: argparse.Namespace) -> Device:
    """Return the device that `--root` names."""
    from edgetl_runtime.install.device import Device, default_root

    return Device(args.root or default_root())


def summary(device: Device, state: State) -> dict[str, Any]:
    """Return the state as commands print it."""
    from edgetl_runtime.schema import to_mapping

    return {
        "root": str(device.root),
        "phase": state.phase,
        "line": state.line,
        "floor": state.floor,
        "committed": to_mapping(state.committed),
        "previous": to_mapping(state.previous),
        "trial": to_mapping(state.trial),
        "inconsistent": state.inconsistent,
    }


def words(result: dict[str, Any]) -> str:
    """Return one line about a state, for people."""
    committed = result["committed"]["name"] if result["committed"] else "none"
    trial = f"; on trial {result['trial']['generation']['name']}" if result["trial"] else ""
    wrong = f"; INCONSISTENT: {result['inconsistent']}" if result["inconsistent"] else ""
    return f"{result['phase']}: committed {committed}{trial}, floor {result['floor']}{wrong}"


@contextlib.contextmanager
def clean_stop() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as an interrupt does: with clean-up and a line in the log."""

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
