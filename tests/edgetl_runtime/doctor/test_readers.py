from __future__ import annotations

import pytest

from edgetl_runtime.doctor import readers, recording

BOARDS = {
    "orin-nano-jp6": ("36.4.7", "6.2.1", "15W", (775, 7620), 4761),
    "orin-nx-jp6": ("36.4.3", "6.2", "10W", (6123, 7620), 7615),
    "agx-orin-jp6": ("36.4.4", "6.2.1", "MAXN", (2448, 62840), 4442),
    "thor-jp7": ("38.2.0", "7.0", "120W", (117456, 125772), 28548),
}


@pytest.mark.parametrize("name", BOARDS)
def test_readers_read_a_jetson(name, said):
    release, jetpack, mode, ram, power_mw = BOARDS[name]
    machine = said(name)
    assert (readers.l4t(machine), readers.jetpack(release)) == (release, jetpack)
    assert readers.power_modes(machine).current == mode
    stats = readers.tegrastats(machine)
    assert (stats.ram_used_mb, stats.ram_total_mb) == ram
    assert power_mw in stats.power_mw.values()
    assert readers.arch(machine) == "aarch64"


def test_tegrastats_counts_cores_that_are_off(said):
    assert readers.tegrastats(said("orin-nx-jp6")).cores_off == 2
    assert readers.tegrastats(said("thor-jp7")).gpu_percent is None


def test_tegrastats_reads_three_values_a_sensor_and_leaves_dead_ones_out():
    line = (
        "07-17-2026 15:15:24 RAM 8182/62817MB (lfb 6x4MB) CPU [18%@729,12%@729] GR3D_FREQ 5% CV0@-256C "
        "cpu@51.343C/51.343C tj@51.343C/51.343C VDD_GPU_SOC 3588mW/3588mW/3588mW VDD_CPU_CV 797mW/797mW/797mW"
    )
    stats = readers.tegrastats(recording.parse(f"=== command tegrastats 124\n| {line}\n"))
    assert stats.temperatures_c == {"cpu": 51.343, "tj": 51.343}
    assert stats.power_mw == {"VDD_GPU_SOC": 3588, "VDD_CPU_CV": 797}
    assert stats.gpu_percent == 5


def test_power_modes_fall_back_on_the_status_file(said):
    machine = said("orin-nano-jp6")
    silent = recording.Recording(files=machine.files, commands={})
    modes = readers.power_modes(silent)
    assert modes.current == "15W"
    assert modes.modes == {0: "15W", 1: "25W", 2: "MAXN_SUPER", 3: "7W"}
    assert modes.default == 1


def test_power_modes_pass_over_the_comments_of_the_file():
    text = "=== file /etc/nvpmodel.conf\n| # < POWER_MODEL ID=9 NAME=mode_name >\n| < POWER_MODEL ID=0 NAME=MAXN >\n"
    assert readers.power_modes(recording.parse(text)).modes == {0: "MAXN"}


def test_zones_leave_out_what_is_switched_off(said):
    zones = {zone.name: zone for zone in readers.zones(said("orin-nano-jp6"))}
    assert "cv0-thermal" not in zones
    assert zones["tj-thermal"].temperature_c == 49.062
    assert zones["tj-thermal"].throttles_at_c == 99.0
    assert {zone.throttles_at_c for zone in readers.zones(said("thor-jp7"))} == {None}


def test_packages_are_read_though_dpkg_query_says_that_one_name_is_unknown(said):
    assert readers.packages(said("thor-jp7"))["libnvinfer10"] == "10.13.3.9-1+cuda13.0"


def test_gpus_reads_nvidia_smi(said):
    (card,) = readers.gpus(said("ipc-rtx"))
    assert (card.name, card.compute_capability, card.memory_mb) == ("NVIDIA RTX A2000 12GB", "8.6", 12282)


def test_cpu_names_only_what_every_core_has():
    text = "=== file /proc/cpuinfo\n| flags : avx2 avx512vnni\n|\n| flags : avx2\n"
    assert readers.cpu(recording.parse(text))[1] == {"avx2"}


def test_summary_holds_the_facts_of_a_report(said):
    facts = readers.summary(said("agx-orin-jp6"))
    assert (facts["jetpack"], facts["tensorrt"], facts["cuda"]) == ("6.2.1", "10.3.0.30", "12.6.68")
    assert (facts["power_mode"], facts["memory_mb"], facts["kernel"]) == ("MAXN", 62840, "5.15.148-tegra")


def test_readers_say_nothing_of_an_empty_machine():
    machine = recording.parse("=== command uname 0\n| Linux 6.1 x86_64\n")
    assert readers.l4t(machine) is None
    assert readers.power_modes(machine) is None
    assert readers.tegrastats(machine) is None
    assert readers.memory_mb(machine) is None
    assert readers.zones(machine) == readers.gpus(machine) == ()
    assert readers.python(machine) is None


@pytest.mark.parametrize("said", ["[" * 10**5, '{"version": 1, "version": 2}', "no JSON", "[]"])
def test_what_a_machine_says_of_its_python_must_be_one_strict_object(said):
    assert readers.python(recording.parse(f"=== command python 0\n| {said}\n")) is None
