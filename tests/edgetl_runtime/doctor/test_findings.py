"""What several checks need to know of a board, and what a finding must offer."""

from __future__ import annotations

import pytest

from edgetl_runtime.doctor import findings
from edgetl_runtime.errors import UnfitError


def test_a_trouble_without_a_command_is_no_finding():
    with pytest.raises(ValueError, match="offers no command"):
        findings.Finding(topic="x", level="warn", found="y")


@pytest.mark.parametrize(
    ("board", "profile"),
    [
        ("orin-nano-jp6", "jetson-orin-nano-super"),
        ("orin-nx-jp6", "jetson-orin-nx-8gb"),
        ("agx-orin-jp6", "jetson-agx-orin-64gb"),
        ("thor-jp7", "jetson-thor"),
        ("raspberry-pi-5", "raspberry-pi-5"),
        ("xavier-nx-jp5", None),
        ("ipc-rtx", None),
    ],
)
def test_profile_name_is_the_boards(board, profile, said):
    assert findings.profile_name(said(board)) == profile


@pytest.mark.parametrize(
    ("wanted", "fix"),
    [("25W", "sudo nvpmodel -m 1"), ("MAXN_SUPER", "sudo nvpmodel -m 2"), ("20W", "sudo nvpmodel -m 1")],
)
def test_require_power_mode_refuses_a_lower_one_in_one_sentence(wanted, fix, said):
    with pytest.raises(UnfitError) as caught:
        findings.require_power_mode(said("orin-nano-jp6"), wanted)
    assert caught.value.sentence == f"the power mode must be {wanted} or higher, as the contract assumes; got 15W."
    assert caught.value.fix == fix


def test_require_power_mode_passes_equal_and_higher_and_refuses_the_unknown(said):
    findings.require_power_mode(said("orin-nano-jp6"), "15W")
    findings.require_power_mode(said("agx-orin-jp6"), "MODE_50W")
    with pytest.raises(UnfitError, match="got an unknown one"):
        findings.require_power_mode(said("ipc-rtx"), "15W")
