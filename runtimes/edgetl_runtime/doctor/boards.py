"""The boards we know by their device tree, those we refuse included; the data is `boards.json`."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

from edgetl_runtime.schema import from_mapping

DATA = Path(__file__).with_name("boards.json")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A supported board.

    Attributes:
        name: For people.
        profile: Name of its device profile.
        compatible: Parts of the device tree's `compatible` entries, of which one suffices.
        super_profile: Name of the profile that counts where the board has the super power modes.
        throttles_at_c: Where the board slows itself down without the kernel showing it as a trip point.
    """

    name: str
    profile: str
    compatible: tuple[str, ...]
    super_profile: str | None = None
    throttles_at_c: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RefusedBoard:
    """A board we do not support any more.

    Attributes:
        name: For people.
        names: What somebody might pass as a target.
        compatible: As in `Board`.
        reason: Completes "got NAME: …".
        fix: What to use instead.
    """

    name: str
    names: tuple[str, ...]
    compatible: tuple[str, ...]
    reason: str
    fix: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Data:
    source: str
    boards: tuple[Board, ...]
    refused: tuple[RefusedBoard, ...]


@functools.cache
def _data() -> _Data:
    return from_mapping(_Data, json.loads(DATA.read_text(encoding="utf-8")), where=DATA.name)


def known() -> tuple[Board, ...]:
    """Return every supported board."""
    return _data().boards


def identify(compatible: tuple[str, ...]) -> Board | RefusedBoard | None:
    """Return the board whose device tree says so; modules count before the chip they carry.

    Example:
        >>> identify(("nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234")).name
        'Jetson Orin Nano 8GB'
    """
    everything: tuple[Board | RefusedBoard, ...] = (*_data().boards, *_data().refused)
    for entry in compatible:  # the most specific comes first in a device tree
        for board in everything:
            if any(name in entry for name in board.compatible):
                return board
    return None


def refused(name: str) -> RefusedBoard | None:
    """Return the refused board of that name, if it is one.

    Example:
        >>> refused("jetson-nano").reason.split(",")[0]
        'its last system is JetPack 4 (Python 3.6'
    """
    return next((board for board in _data().refused if name in board.names), None)
