"""The measuring loop collects garbage before every round; the heap of the whole suite is kept out of it."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _small_heap() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()
