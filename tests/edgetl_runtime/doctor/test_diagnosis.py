"""What the doctor says of each recorded board: level, words and the command that mends it."""

from __future__ import annotations

import dataclasses

import pytest

from edgetl_runtime.doctor import diagnosis, recording
from edgetl_runtime.doctor.findings import Need

# board → (need, topic, level, words, command)
EXPECTED = [
    (
        "orin-nano-jp6",
        Need(power_mode="25W"),
        "power",
        "fail",
        "power mode 15W is lower than 25W, which the contract assumes",
        "sudo nvpmodel -m 1",
    ),
    (
        "orin-nano-jp6",
        Need(),
        "power",
        "warn",
        "power mode 15W is lower than 25W, the board's default",
        "sudo nvpmodel -m 1",
    ),
    ("orin-nano-jp6", Need(power_mode="7W"), "power", "ok", "power mode 15W, of 15W, 25W, MAXN_SUPER, 7W", None),
    (
        "orin-nano-jp6",
        Need(),
        "clocks",
        "warn",
        "the cores' clocks follow the load between 729 MHz and 1510 MHz (schedutil)",
        "sudo jetson_clocks",
    ),
    ("orin-nano-jp6", Need(), "thermal", "warn", "37 momentary over-current events", "use a stronger supply"),
    (
        "orin-nx-jp6",
        Need(),
        "thermal",
        "warn",
        "tj-thermal is at 92 °C, it slows down at 99 °C",
        "sudo systemctl restart nvfancontrol",
    ),
    (
        "orin-nx-jp6",
        Need(),
        "disk",
        "fail",
        "600 MB are free on /, 1000 are needed",
        "edgetl-runtime gc; sudo apt-get clean",
    ),
    (
        "orin-nx-jp6",
        Need(),
        "memory",
        "warn",
        "1180 of 7620 MB are free, building an engine may need 1500",
        "multi-user.target",
    ),
    (
        "orin-nx-jp6",
        Need(memory_mb=2000),
        "memory",
        "fail",
        "1180 of 7620 MB are free, the station needs 2000",
        "multi-user.target",
    ),
    (
        "orin-nx-jp6",
        Need(backends=("tensorrt",)),
        "python",
        "fail",
        "Python 3.10.12 has no edgetl-runtime",
        "--system-site-packages",
    ),
    ("orin-nx-jp6", Need(), "engines", "warn", "not in the group video", "sudo usermod -aG video"),
    ("agx-orin-jp6", Need(), "power", "ok", "power mode MAXN", None),
    ("agx-orin-jp6", Need(), "clocks", "ok", "the clock of 17000000.gpu stands still at 1300 MHz", None),
    (
        "agx-orin-jp6",
        Need(),
        "engines",
        "warn",
        "TensorRT 10.3.0.30 without its Python module",
        "--system-site-packages",
    ),
    ("thor-jp7", Need(power_mode="120W"), "power", "ok", "power mode 120W, of MAXN, 120W, 90W, 70W", None),
    ("thor-jp7", Need(power_mode="MAXN"), "power", "fail", "power mode 120W is lower than MAXN", "sudo nvpmodel -m 0"),
    (
        "thor-jp7",
        Need(),
        "clocks",
        "warn",
        "the clock of gpu-gpc-0 follows the load between 306 and 1575 MHz",
        "sudo jetson_clocks",
    ),
    ("thor-jp7", Need(), "engines", "ok", "TensorRT 10.13.3.9", None),
    ("xavier-nx-jp5", Need(), "board", "fail", "is refused: its last system is JetPack 5", "use a Jetson Orin"),
    (
        "ipc-rtx",
        Need(),
        "engines",
        "ok",
        "NVIDIA RTX A2000 12GB, compute capability 8.6, 12282 MB, driver 570.133.20",
        None,
    ),
    ("ipc-rtx", Need(), "engines", "warn", "it is not in the group render", "sudo usermod -aG render"),
    ("ipc-rtx", Need(), "thermal", "warn", "the processor throttled 12 times", "clean the cooler"),
    (
        "ipc-rtx",
        Need(),
        "clocks",
        "warn",
        "follow the load between 800 MHz and 4900 MHz (powersave)",
        "cpupower frequency-set -g performance",
    ),
    ("ipc-rtx", Need(), "cpu", "ok", "the processor has VNNI", None),
    ("raspberry-pi-5", Need(), "thermal", "fail", "cpu-thermal is at 84 °C, it slows down at 80 °C", "check the fan"),
    (
        "raspberry-pi-5",
        Need(),
        "thermal",
        "fail",
        "now: under-voltage, throttled; since the start: under-voltage, throttled",
        "27 W",
    ),
]


@pytest.mark.parametrize(
    ("board", "need", "topic", "level", "words", "command"), EXPECTED, ids=[f"{e[0]}-{e[4][:30]}" for e in EXPECTED]
)
def test_the_doctor_finds(board, need, topic, level, words, command, said):
    found = [
        finding for finding in diagnosis.diagnose(said(board), need).findings
        if finding.topic == topic and words in finding.found
    ]  # fmt: skip
    assert [finding.level for finding in found] == [level]
    assert (command in found[0].command) if command else found[0].command is None


def test_findings_are_sorted_the_worst_first(tree):
    levels = [f.level for f in diagnosis.diagnose(recording.parse(tree.read_text(encoding="utf-8"))).findings]
    assert levels == sorted(levels, key=diagnosis.ORDER.index)


def test_every_trouble_comes_with_a_command(tree):
    said = recording.parse(tree.read_text(encoding="utf-8"))
    for finding in diagnosis.diagnose(said, Need(power_mode="MAXN", memory_mb=10**9, disk_mb=10**9)).findings:
        assert (finding.level in ("fail", "warn")) <= bool(finding.command)
        assert not finding.found.endswith(".")


def test_a_refused_board_gets_one_finding_only(said):
    assert len(diagnosis.diagnose(said("xavier-nx-jp5")).findings) == 1


def test_an_old_jetpack_on_a_good_board_is_refused(said):
    machine = said("orin-nano-jp6")
    files = machine.files | {"/etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 1"}
    found = diagnosis.diagnose(dataclasses.replace(machine, files=files)).findings[0]
    assert found.found.startswith("JetPack 5 (L4T 35.4.1) is refused")
    assert found.command.startswith("sdkmanager")


def test_missing_parts_of_jetpack_are_named(said):
    machine = said("orin-nano-jp6")
    bare = machine.commands | {"packages": recording.Output(code=1, text="")}
    failed = [f for f in diagnosis.diagnose(dataclasses.replace(machine, commands=bare)).findings if f.level == "fail"]
    assert {f.found for f in failed} == {
        "L4T 36.4.7 without JetPack's libraries (CUDA, TensorRT)", "CUDA is not installed", "TensorRT is not installed",
    }  # fmt: skip
    assert {f.command for f in failed} == {"sudo apt-get update && sudo apt-get install nvidia-jetpack"}
