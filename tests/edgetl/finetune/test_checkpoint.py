"""Checkpoints come back bit by bit, and what is damaged or foreign is refused."""

from __future__ import annotations

import sys

import pytest
import torch

from edgetl.errors import RunError
from edgetl.finetune.checkpoint import load_checkpoint, save_checkpoint


def test_checkpoint_comes_back_bit_by_bit(tmp_path):
    path = tmp_path / "deeper" / "phase.pt"
    assert load_checkpoint(path) is None
    values = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    state = {"weights": {"w": values}, "step": 7, "losses": [0.5]}
    save_checkpoint(path, state)
    found = load_checkpoint(path)
    assert torch.equal(found["weights"]["w"], values)
    assert (found["step"], found["losses"]) == (7, [0.5])
    assert [p.name for p in path.parent.iterdir()] == ["phase.pt"]


@pytest.mark.parametrize("keep", [0, 10, -10])
def test_load_refuses_a_truncated_file(keep, tmp_path):
    path = tmp_path / "phase.pt"
    save_checkpoint(path, {"step": 1})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match="must be a readable checkpoint"):
        load_checkpoint(path)


def test_load_refuses_another_format(tmp_path):
    torch.save({"format": 99}, tmp_path / "phase.pt")
    with pytest.raises(RunError, match="got format 99"):
        load_checkpoint(tmp_path / "phase.pt")


class Payload:
    def __reduce__(self):
        return sys.exit, (3,)


def test_load_runs_no_code_of_the_file(tmp_path):
    torch.save({"format": 1, "x": Payload()}, tmp_path / "phase.pt")
    with pytest.raises(RunError, match="got UnpicklingError"):
        load_checkpoint(tmp_path / "phase.pt")
