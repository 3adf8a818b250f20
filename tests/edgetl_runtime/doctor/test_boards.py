from __future__ import annotations

import pytest

from edgetl_runtime.doctor import boards


@pytest.mark.parametrize(
    ("compatible", "name"),
    [
        (("nvidia,p3768-0000+p3767-0003", "nvidia,p3767-0003", "nvidia,tegra234"), "Jetson Orin Nano 8GB"),
        (("nvidia,p3768-0000+p3767-0004-super", "nvidia,p3767-0004"), "Jetson Orin Nano 4GB"),
        (("nvidia,p3509-0000+p3767-0000", "nvidia,tegra234"), "Jetson Orin NX 16GB"),
        (("nvidia,p3737-0000+p3701-0000", "nvidia,p3701-0000", "nvidia,tegra234"), "Jetson AGX Orin 64GB"),
        (("nvidia,p4071-0000+p3834-0008", "nvidia,p3834-0008", "nvidia,tegra264"), "Jetson T5000 (Thor)"),
        (("nvidia,p3509-0000+p3668-0001", "nvidia,p3668-0001", "nvidia,tegra194"), "Jetson Xavier"),
        (("nvidia,p3450-0000", "nvidia,tegra210"), "Jetson Nano or TX1"),
    ],
)
def test_identify_knows_the_module_whatever_carries_it(compatible, name):
    assert boards.identify(compatible).name == name


def test_identify_returns_none_for_what_is_no_known_board():
    assert boards.identify(()) is None
    assert boards.identify(("nvidia,p9999-0000", "nvidia,tegra999")) is None


def test_no_name_stands_for_two_boards():
    names = [name for board in boards.known() for name in board.compatible]
    assert len(names) == len(set(names))
