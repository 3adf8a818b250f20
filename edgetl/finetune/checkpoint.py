"""Checkpoints of a training phase: written whole or not at all, read without pickle's code execution."""

from __future__ import annotations

import io
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch

from edgetl.errors import RunError
from edgetl.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts) durably: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None where there is none.

    Raises:
        RunError: The file is damaged or of another format.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise _damaged(path, type(error).__name__) from error
    if state.get("format") != FORMAT:
        raise _damaged(path, f"format {state.get('format')}")
    return state


def _damaged(path: Path, got: str) -> RunError:
    return RunError(
        f"checkpoint {path}", f"a readable checkpoint of format {FORMAT}", got, fix="start again with --force"
    )
