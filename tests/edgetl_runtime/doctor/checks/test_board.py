from __future__ import annotations

import pytest

from edgetl_runtime.doctor import recording
from edgetl_runtime.doctor.checks import board
from edgetl_runtime.doctor.findings import Need

ORIN_NANO = "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234"
L4T = "# R{major} (release), REVISION: {minor}, GCID: 1, BOARD: generic, EABI: aarch64"


def jetson(compatible=ORIN_NANO, *, release="36:4.3", packages="installed nvidia-jetpack 6.2"):
    major, minor = release.split(":")
    files = {
        "/proc/device-tree/compatible": compatible.replace("\0", "\n"),
        "/etc/nv_tegra_release": L4T.format(major=major, minor=minor) if release != ":" else "",
    }
    commands = {
        "uname": recording.Output(code=0, text="Linux 5.15 aarch64"),
        "packages": recording.Output(code=0, text=packages),
    }
    return recording.Recording(files=files, commands=commands)


def levels(said):
    return [finding.level for finding in board.check(said, Need())]


def test_recorded_boards_are_known_and_name_their_target(said):
    findings = list(board.check(said("orin-nano-jp6"), Need()))
    assert [finding.level for finding in findings] == ["ok", "ok"]
    assert "--target jetson-orin-nano" in findings[0].found
    assert "JetPack 6" in findings[1].found


def test_xavier_is_refused_with_the_reason_and_nothing_is_said_of_its_jetpack(said):
    (finding,) = board.check(said("xavier-nx-jp5"), Need())
    assert finding.level == "fail"
    assert "is refused" in finding.found


def test_machine_without_wheels_is_refused():
    said = recording.Recording(files={}, commands={"uname": recording.Output(code=0, text="Linux 6.1 armv7l")})
    (finding,) = board.check(said, Need())
    assert finding.level == "fail"
    assert "no wheels" in finding.found


@pytest.mark.parametrize(
    ("release", "level", "words"),
    [
        ("35:4.1", "fail", "out of support"),
        ("36:4.3", "ok", "JetPack 6.2"),
        ("99:1.0", "unknown", "newer than what is known"),
        (":", "warn", "container"),
    ],
)
def test_the_release_of_a_jetson_is_judged(release, level, words):
    finding = list(board.check(jetson(release=release), Need()))[1]
    assert (finding.level, words in finding.found) == (level, True)


@pytest.mark.parametrize(("packages", "level"), [("", "fail"), ("installed libnvinfer10 10.3.0", "ok")])
def test_jetpack_installed_in_parts_is_enough_only_with_tensorrt(packages, level):
    assert levels(jetson(packages=packages))[1] == level
