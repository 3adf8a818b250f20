"""What disturbs a round is seen, on an invented /proc and /sys; what does not is let pass."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench import conditions
from edgetl_runtime.bench.conditions import Sample

if TYPE_CHECKING:
    from pathlib import Path

START = Sample(
    monotonic_ns=0, raw_ns=0, asleep_ns=0, busy_s=100, stolen_s=5, own_s=1, cores=2, clock_mhz=3000, throttled=7
)
# one second later, one core of two kept busy by the round itself
QUIET = dataclasses.replace(START, monotonic_ns=10**9, raw_ns=10**9, busy_s=101.0, own_s=2.0)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ()),
        ({"busy_s": 101.09}, ()),
        ({"busy_s": 101.2}, ("other work took 10 % of the machine",)),
        ({"stolen_s": 5.3}, ("the hypervisor took 15 % of the machine",)),
        ({"throttled": 9}, ("the processor was throttled 2 times",)),
        ({"clock_mhz": 2900}, ()),
        ({"clock_mhz": 2000}, ("the processor's clock fell from 3000 to 2000 MHz",)),
        ({"monotonic_ns": -1}, ("the clock went backwards",)),
        ({"monotonic_ns": 4 * 10**9}, ("the clock jumped by 3000 ms",)),
        ({"asleep_ns": 2 * 10**9}, ("the machine slept for 2000 ms",)),
    ],
)
def test_disturbances_says_what_happened(changes: dict[str, float], reasons: tuple[str, ...]) -> None:
    assert conditions.disturbances(START, dataclasses.replace(QUIET, **changes)) == reasons


def test_neighbours_that_were_asked_for_are_not_foreign_work() -> None:
    busy = dataclasses.replace(QUIET, busy_s=101.9)
    assert conditions.disturbances(START, busy) == ("other work took 45 % of the machine",)
    assert conditions.disturbances(START, dataclasses.replace(busy, own_s=2.9)) == ()


@pytest.mark.parametrize(
    ("samples_ms", "wall_ms", "reason"),
    [
        ((1.0, 2.0), 3.5, None),
        ((1.0, -2.0), 9.0, "the clock went backwards"),
        ((0.0, 0.0), 9.0, "the clock stood still"),
        ((5.0, 900.0), 10.0, "the samples sum to 905 ms, more than the 10 ms that passed"),
    ],
)
def test_samples_that_cannot_be_true(samples_ms: tuple[float, ...], wall_ms: float, reason: str | None) -> None:
    assert conditions.sample_faults(samples_ms, wall_ms) == (() if reason is None else (reason,))


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    files = {
        "proc/stat": "cpu  100 20 30 999 5 6 7 40 0 0\ncpu0 1 1 1 1 1 1 1 1\ncpu1 1 1 1 1 1 1 1 1\nintr 5\n",
        "proc/loadavg": "0.50 0.40 0.30 1/100 999\n",
        "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable:  4096000 kB\n",
        "proc/pressure/cpu": "some avg10=1.00 avg60=1.00 avg300=1.00 total=1234\n",
        "proc/77/stat": "77 (a b) c) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0\n",
        "var/lib/nvpmodel/status": "pmode:0002\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1300000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
        "sys/class/thermal/thermal_zone0/temp": "45500\n",
        "sys/class/thermal/thermal_zone1/temp": "51000\n",
        "sys/class/thermal/cooling_device3/type": "cpu-throttle-alert\n",
        "sys/class/thermal/cooling_device3/cur_state": "1\n",
        "sys/class/thermal/cooling_device4/type": "pwm-fan\n",
        "sys/class/thermal/cooling_device4/cur_state": "3\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_sample_reads_proc_and_sys(jetson: Path) -> None:
    alone, beside = conditions.sample(root=jetson), conditions.sample(root=jetson, neighbours=(77, 78))
    assert (alone.busy_s, alone.stolen_s, alone.cores) == (pytest.approx(1.63), pytest.approx(0.4), 2)
    assert (alone.clock_mhz, alone.throttled, alone.temperature_c) == (1400.0, 1, 51.0)
    assert (alone.waiting_us, alone.load, alone.available_mb) == (1234, 0.5, 4000)
    assert beside.own_s - alone.own_s == pytest.approx(2.0, abs=0.1)


def test_sample_of_an_empty_root_knows_little_and_says_so(tmp_path: Path) -> None:
    found = conditions.sample(root=tmp_path)
    assert (found.clock_mhz, found.throttled, found.temperature_c, found.waiting_us) == (None,) * 4


def test_environment_tells_power_modes_apart(jetson: Path) -> None:
    first = conditions.environment(jetson)
    assert (first["board"], first["power_mode"], first["governor"]) == (
        "NVIDIA Jetson Orin Nano", "pmode:0002", "schedutil",
    )  # fmt: skip
    assert conditions.environment(jetson)["fingerprint"] == first["fingerprint"]
    (jetson / "var/lib/nvpmodel/status").write_text("pmode:0000\n")
    second = conditions.environment(jetson)
    assert second["fingerprint"] != first["fingerprint"]
    assert conditions.differences(first, second) == ("power_mode: pmode:0002 and pmode:0000",)


def test_environment_tells_how_threads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    passive = conditions.environment()
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert conditions.environment()["fingerprint"] != passive["fingerprint"]
