"""The state of a search: one JSON file in its folder, written after every step, so that a killed search goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl.errors import RunError
from edgetl.run import read_json, write_json
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA = "edgetl.search.state/1"


class SearchState:
    """What a search has found so far.

    Args:
        path: The file.
        asked: Everything that decides what is computed, plain values.
        resume: Go on with what is in the file; it must have been asked for the same.

    Raises:
        UsageError: There is nothing to be resumed, or something else was asked for.
        RunError: The file is damaged.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self.networks: dict[str, dict[str, Any]] = {}
        self.timed: list[dict[str, Any]] | None = None
        self._asked = dict(asked)
        if resume:
            self._read()

    def _read(self) -> None:
        if not self.path.is_file():
            got = f"no search in {self.path.parent}"
            raise UsageError(
                "--resume",
                "used on a search that was started",
                got,
                fix="the same command without --resume, or --out with the folder of a search",
            )
        stored = read_json(self.path)
        if not isinstance(stored, dict) or stored.get("schema") != SCHEMA or not isinstance(stored.get("asked"), dict):
            raise RunError(
                str(self.path),
                f"of schema {SCHEMA}",
                f"{stored!r:.60}",
                fix="edgetl search again with --force in the place of --resume",
            )
        for key in sorted(self._asked.keys() | stored["asked"].keys()):
            before, now = stored["asked"].get(key), self._asked.get(key)
            if before != now:
                must = f"{before!r:.200} as when the search was started"
                raise UsageError(f"{key} on --resume", must, f"{now!r:.200}", fix="the same options as before")
        self.networks, self.timed = stored["networks"], stored["timed"]

    def of(self, network: str) -> dict[str, Any]:
        """Return the record of one network, to be changed and saved."""
        return self.networks.setdefault(network, {"why": ""})

    def save(self) -> None:
        """Write the file durably."""
        write_json(self.path, {"schema": SCHEMA, "asked": self._asked, "networks": self.networks, "timed": self.timed})

    @staticmethod
    def fits(path: Path, asked: Mapping[str, Any]) -> bool:
        """Return whether a search for just this was started there."""
        try:
            SearchState(path, asked, resume=True)
        except (UsageError, RunError):
            return False
        return True
