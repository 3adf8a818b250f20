"""The recordings of boards in `trees/`; see its PROVENANCE.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.doctor import recording

if TYPE_CHECKING:
    from collections.abc import Callable

TREES = Path(__file__).parent / "trees"


@pytest.fixture(params=sorted(TREES.glob("*.txt")), ids=lambda path: path.stem)
def tree(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def said() -> Callable[[str], recording.Recording]:
    """Return a board's recording by name."""
    return lambda name: recording.parse((TREES / f"{name}.txt").read_text(encoding="utf-8"))
