"""`edgetl-runtime status`: which generation runs, and how far a deployment is. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl_runtime.install.options import add_root, device_of, summary, words

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_root(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read the state without a lock; INCONSISTENT is exit 1."""
    from edgetl_runtime.install.state import State

    device = device_of(args)
    found = device.states.read()
    state = found or State()
    desired = f"gen/{state.desired.name}" if state.desired else None
    lost = found is None and (device.states.exists or bool(device.installed()))
    unseen, busy, service = None, None, None
    try:
        busy, service = device.busy_phase(), device.service_runs()
    except PermissionError:
        words = "what is in progress, and whether the service runs, is seen by its owner alone"
        unseen = f"{words}: sudo -u {device.owner()} edgetl-runtime status"
    cut_off = lost or state.active is not None or device.points_to() != desired
    last = device.log.last()
    return {
        "schema": "edgetl.status/1",
        "exit": 1 if state.inconsistent or lost else 0,
        **summary(device, state),
        "busy": busy,
        "service": service,
        "unseen": unseen,
        "recovery_needed": None if unseen else busy is None and cut_off,
        "proof": device.proof(state.desired) if state.desired else {},
        "last": {key: last[key] for key in ("deployment", "result", "reason", "time")} if last else None,
    }


def show(result: Mapping[str, Any]) -> str:
    """Return a few lines."""
    lines = [words(dict(result))]
    if result["busy"]:
        lines.append(f"in progress: {result['busy']}")
    if result["recovery_needed"]:
        lines.append("a command was cut off; the next one, or the service's start, recovers")
    lines.append(result["unseen"] or ("the service runs" if result["service"] else "no service runs"))
    if result["last"]:
        lines.append("last: {result}, {reason} ({time})".format(**result["last"]))
    return "\n".join(lines)
