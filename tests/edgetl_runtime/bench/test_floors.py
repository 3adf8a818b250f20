"""Floors belong to a machine as it is, and survive damage by being measured again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench import floors
from edgetl_runtime.bench.floors import Floors
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_floors_are_kept_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert floors.read() == Floors()
    floors.write(aa=0.012)
    floors.write(between_days=0.03)
    floors.write(between_days=0.01)
    found = floors.read()
    assert (found.aa, found.between_days, len(found.fingerprint)) == (0.012, 0.03, 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "31")  # another way of running: another floor
    assert floors.read().aa is None


def test_a_damaged_file_is_named_and_replaced() -> None:
    path = floors.write(aa=0.01)
    path.write_text("{")
    with pytest.raises(UsageError, match="must be JSON"):
        floors.read()
    floors.write(aa=0.02)
    assert floors.read().aa == 0.02
