"""The ledger of product lines on the host: gives every bundle of a line the next sequence number."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.errors import RunError
from edgetl.run import read_json, write_json
from edgetl_runtime import locks
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


def ledger_path(line: str) -> Path:
    """Return the ledger of a line: below `$EDGETL_STATE`, else the user's state folder.

    Raises:
        UsageError: The name of the line is not plain.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", line):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", line).strip("-._")[:64] or "screws-3"
        must, got = "letters, digits, '.', '_' and '-', at most 64", repr(line)
        sentence = f"a product line is named in {must}; {got} is not: it is the run's name, or --line."
        raise UsageError("the name of the product line", must, got, fix=f"--line {plain}", sentence=sentence)
    return state_folder() / "lines" / f"{line}.json"


def state_folder() -> Path:
    """Return where the host keeps what outlives a command: `$EDGETL_STATE`, else the user's state folder."""
    state = os.environ.get("EDGETL_STATE")
    return Path(state) if state else Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "edgetl"


def check_ledger(line: str) -> None:
    """Make sure that a line's ledger can be written, before work is done whose end needs a number.

    Raises:
        UsageError: The name of the line is not plain.
        RunError: The state folder cannot be written.
    """
    path = ledger_path(line)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.{os.getpid()}.probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        fix = "EDGETL_STATE=FOLDER for another place; it keeps the sequence numbers of every line"
        reason = error.strerror or type(error).__name__
        raise RunError(f"the state folder {state_folder()}", "writable", reason, fix=fix) from error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """The next number of a line, which nobody else is given meanwhile.

    Attributes:
        value: It.
        path: The ledger.
    """

    value: int
    path: Path

    def take(self) -> None:
        """Write down that it was given; before that it is nobody's."""
        write_json(self.path, {"last": self.value})


@contextlib.contextmanager
def numbered(line: str) -> Iterator[Number]:
    """Hold the next number of a line; another deployment of that line waits.

    A number that is not taken is given to the next one: what is refused leaves no gap.

    Raises:
        RunError: The ledger is damaged.
    """
    path = ledger_path(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = locks.open_lock(path.with_suffix(".lock"))
    try:
        locks.wait_lock(lock)
        known = read_json(path) if path.exists() else {"last": 0}
        last = known.get("last") if isinstance(known, dict) else None
        if not isinstance(last, int) or isinstance(last, bool) or last < 0:
            raise RunError(
                f"ledger {path}", 'of the form {"last": 7}', f"{known!r:.80}", fix="restore it from a backup"
            )
        yield Number(value=last + 1, path=path)
    finally:
        os.close(lock)
