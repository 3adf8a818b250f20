from __future__ import annotations

import pytest

from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.doctor import contract
from edgetl_runtime.errors import UnfitError

MODES = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< PM_CONFIG DEFAULT=1 >\n"


@pytest.fixture
def board(tmp_path):
    """A Jetson's two files, in mode 0."""
    for name, text in (("etc/nvpmodel.conf", MODES), ("var/lib/nvpmodel/status", "pmode:0000 fmode:quiet\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_require_power_refuses_a_mode_below_the_contracts_in_one_sentence(board):
    with pytest.raises(UnfitError) as caught:
        contract.require_power({"contract_power_mode": "25W"}, board)
    assert caught.value.sentence == "the power mode must be 25W or higher, as the contract assumes; got 15W."
    assert caught.value.fix == "sudo nvpmodel -m 1"


@pytest.mark.parametrize("target", [{"contract_power_mode": "15W"}, {"contract_power_mode": None}, {}])
def test_require_power_passes_what_suffices(board, target):
    contract.require_power(target, board)


def test_require_power_passes_a_machine_without_power_modes(tmp_path):
    contract.require_power({"contract_power_mode": "25W"}, tmp_path)


def test_need_of_reads_the_bundles_backend_and_power_mode(tiny_bundle):
    with open_bundle(tiny_bundle(target={"contract_power_mode": "25W"})) as bundle:
        assert contract.need_of(bundle.manifest) == {"backends": ("onnxruntime",), "power_mode": "25W"}
    with open_bundle(tiny_bundle()) as bundle:
        assert contract.need_of(bundle.manifest) == {"backends": ("onnxruntime",)}
