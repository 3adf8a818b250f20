"""What a check of the doctor says: findings, and what several checks need to know of a board."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from edgetl_runtime.doctor import boards, readers
from edgetl_runtime.errors import UnfitError

if TYPE_CHECKING:
    from edgetl_runtime.doctor.recording import Recording

Level = Literal["ok", "warn", "fail", "unknown"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: What was looked at.
        level: `fail`: inspection cannot run or cannot be trusted. `warn`: it runs, slower or less steadily.
            `unknown`: this machine does not say.
        found: What is there, as a sentence without its full stop.
        command: What mends it, to be typed on the machine; None where there is nothing to mend.
    """

    topic: str
    level: Level
    found: str
    command: str | None = None

    def __post_init__(self) -> None:
        if self.level in ("fail", "warn") and not self.command:
            raise ValueError(f"finding '{self.found}' offers no command")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What the station shall do there.

    Attributes:
        power_mode: The least that the contract assumes; None takes the board's own default.
        backends: That shall run, the preferred one first; empty: whatever is there.
        memory_mb: That must be free.
        disk_mb: That must be free.
    """

    power_mode: str | None = None
    backends: tuple[str, ...] = ()
    memory_mb: int = 500
    disk_mb: int = 1000


def profile_name(recording: Recording) -> str | None:
    """Return the device profile that fits, None if no board of ours is recognised."""
    board = boards.identify(readers.compatible(recording))
    if not isinstance(board, boards.Board):
        return None
    modes = readers.power_modes(recording)
    is_super = modes is not None and "MAXN_SUPER" in modes.modes.values()
    return board.super_profile if is_super and board.super_profile else board.profile


def require_power_mode(recording: Recording, wanted: str) -> None:
    r"""Refuse a machine whose power mode is lower than a contract assumes.

    Raises:
        UnfitError: It is lower, or cannot be read.

    Example:
        >>> from edgetl_runtime.doctor.recording import parse
        >>> require_power_mode(parse("=== command nvpmodel 0\n| NV Power Mode: MAXN\n"), "15W")
    """
    modes = readers.power_modes(recording)
    what, must = "the power mode", f"{wanted} or higher, as the contract assumes"
    if modes is None or modes.current is None:
        raise UnfitError(what, must, "an unknown one", fix="sudo nvpmodel -q")
    if readers.watts(modes.current) < readers.watts(wanted):
        raise UnfitError(what, must, modes.current, fix=power_command(modes, wanted))


def power_command(modes: readers.PowerModes, wanted: str) -> str:
    """Return the command that sets the wanted mode, or the lowest one above it where the board has no such mode."""
    enough = {number: readers.watts(name) for number, name in modes.modes.items()}
    enough = {number: power for number, power in enough.items() if power >= readers.watts(wanted)}
    exact = [number for number, name in modes.modes.items() if name == wanted]
    chosen = exact[0] if exact else min(enough, key=lambda number: enough[number], default=None)
    return "sudo nvpmodel -q --verbose   # no mode is high enough" if chosen is None else f"sudo nvpmodel -m {chosen}"
