"""The noise floor of this machine: what a bundle differs from itself, found by `compare A --aa` and kept."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from edgetl_runtime import durable
from edgetl_runtime.bench.conditions import environment
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import from_json, from_mapping, to_mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """Shares of the latency.

    Attributes:
        aa: Bound of what a bundle differs from itself in one comparison; None if never measured.
        between_days: Largest difference seen between a stored record and the same bundle measured again.
        fingerprint: Of the machine.
    """

    aa: float | None = None
    between_days: float = 0.0
    fingerprint: str = ""


def folder() -> Path:
    """Return where floors are kept: `$XDG_STATE_HOME/edgetl/floors`, by default below `~/.local/state`."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "edgetl" / "floors"


def read() -> Floors:
    """Return the floors of this machine as it is now; all unknown if it was never measured."""
    path = _path()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Floors()
    mapping = from_json(data, where=f"{path}", fix="edgetl compare A.edgetl --aa --force")
    return from_mapping(Floors, mapping, where=path.name)


def write(*, aa: float | None = None, between_days: float | None = None) -> Path:
    """Keep a floor; the one not given stays, and the one between days only grows."""
    try:
        old = read()
    except UsageError:  # damaged: replaced by what was measured now
        old = Floors()
    new = Floors(
        aa=old.aa if aa is None else aa,
        between_days=max(old.between_days, between_days or 0.0),
        fingerprint=environment()["fingerprint"],
    )
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_whole(path, (json.dumps(to_mapping(new)) + "\n").encode())
    return path


def _path() -> Path:
    return folder() / f"{environment()['fingerprint'][:16]}.json"
