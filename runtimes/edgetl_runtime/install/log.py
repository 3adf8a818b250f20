"""The append-only deployment log: a copy of the state's events, one JSON object a line, each with its checksum."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import InstallError
from edgetl_runtime.schema import from_json, to_mapping

if TYPE_CHECKING:
    from pathlib import Path

    from edgetl_runtime.install.disk import Disk
    from edgetl_runtime.install.state import State

MAX_BYTES = 2**20  # then the file is renamed, and the one before that removed
_TAIL_BYTES = 2**16


class DeploymentLog:
    """The log of a device.

    Args:
        folder: That holds it.
        disk: Writes it.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.path = folder / "deployments.jsonl"
        self.older = folder / "deployments.1.jsonl"
        self._disk = disk

    def follow(self, state: State) -> None:
        """Append the events of the state that are not in the log yet; mend a line that a power cut tore."""
        if not self.path.exists():
            if not state.events:
                return
            self._disk.create(self.path, [])
            self._disk.sync_folder(self.path.parent)
        self._mend()
        last = self.last()
        number = last["number"] if last else 0
        new = [event for event in state.events if event.number > number]
        if new:
            summary = {**to_mapping(state), "events": []}
            lines = [_line({**to_mapping(event), "after": summary if event is new[-1] else None}) for event in new]
            self._disk.append(self.path, b"".join(lines))
        if self.path.stat().st_size > MAX_BYTES:
            self._disk.move(self.path, self.older)

    def last(self) -> dict[str, Any] | None:
        """Return the last valid entry, None if there is none."""
        for path in (self.path, self.older):
            entries = _entries(path, _TAIL_BYTES)
            if entries:
                return entries[-1]
        return None

    def last_summary(self) -> dict[str, Any] | None:
        """Return the newest summary of the state that the log holds, None if there is none."""
        for path in (self.path, self.older):
            for entry in reversed(_entries(path, MAX_BYTES * 2)):
                if entry["after"] is not None:
                    return dict(entry["after"])
        return None

    def entries(self) -> list[dict[str, Any]]:
        """Return every valid entry, oldest first."""
        return [e for path in (self.older, self.path) for e in _entries(path, MAX_BYTES * 2)]

    def _mend(self) -> None:
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            self._disk.truncate(self.path, whole)
        elif data and _parse(data[data.rfind(b"\n", 0, -1) + 1 :]) is None:  # zeros or garbage where a line was synced
            self._disk.truncate(self.path, data.rfind(b"\n", 0, -1) + 1)


def _line(entry: dict[str, Any]) -> bytes:
    body = json.dumps(entry, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return f"{_checksum(body)} {body}\n".encode()


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _parse(line: bytes) -> dict[str, Any] | None:
    head, _, body = line.decode(errors="replace").rstrip("\n").partition(" ")
    if not body or head != _checksum(body):
        return None
    try:
        entry = from_json(body.encode(), where="the log", error=InstallError, fix="")
    except InstallError:  # its checksum fits, yet nobody wrote this
        return None
    return entry if isinstance(entry, dict) else None


def _entries(path: Path, tail: int) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, size - tail))
        lines = file.read().splitlines(keepends=True)
    return [entry for line in lines if line.endswith(b"\n") and (entry := _parse(line)) is not None]
