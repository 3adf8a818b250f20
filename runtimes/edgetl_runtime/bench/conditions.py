"""What the machine is, and what disturbed a round: read from /proc and /sys, whose root can be set for tests."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from edgetl_runtime.probe import facts
from edgetl_runtime.version import __version__

FOREIGN_ABOVE = 0.05  # of the machine
SLOWER_CLOCK_ABOVE = 0.05
CLOCKS_APART_ABOVE = 0.01
_NOTHING_BELOW_S = 0.05  # the kernel counts processor time in ticks of 10 ms a core
_MS = 1e6
# they change how threads wait and spread, and so the latency
TELLING_VARIABLES = (
    "OMP_",
    "KMP_",
    "GOMP_",
    "OPENBLAS_",
    "MKL_",
    "ONEDNN_",
    "DNNL_",
    "OV_",
    "ORT_",
    "CUDA_",
    "MALLOC_",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The machine at one moment; None where it does not say.

    Attributes:
        monotonic_ns: The clock latencies are measured with.
        raw_ns: A clock nobody adjusts.
        asleep_ns: How long the machine has been suspended so far.
        busy_s: Processor time of everybody.
        stolen_s: Processor time the hypervisor took.
        own_s: Processor time of this process and of the neighbours that were asked for.
        cores: Of the machine.
        clock_mhz: Mean over the cores.
        throttled: Sum of the throttle counters.
        temperature_c: Of the hottest zone.
        waiting_us: Time in which somebody waited for a core.
        load: One-minute average.
        available_mb: Free memory.
    """

    monotonic_ns: int
    raw_ns: int
    asleep_ns: int
    busy_s: float
    stolen_s: float
    own_s: float
    cores: int
    clock_mhz: float | None = None
    throttled: int | None = None
    temperature_c: float | None = None
    waiting_us: int | None = None
    load: float | None = None
    available_mb: int | None = None


def sample(*, neighbours: tuple[int, ...] = (), root: Path = Path("/")) -> Sample:
    """Look at the machine.

    Args:
        neighbours: Process ids whose work is part of the measurement.
        root: Where `proc` and `sys` are.
    """
    busy_s, stolen_s, cores = _processor_times(_text(root / "proc/stat"))
    waiting = re.search(r"some .*total=(\d+)", _text(root / "proc/pressure/cpu"))
    memory = re.search(r"MemAvailable:\s+(\d+)", _text(root / "proc/meminfo"))
    load = _text(root / "proc/loadavg").split()
    monotonic_ns, raw_ns, asleep_ns = _clocks()
    return Sample(
        monotonic_ns=monotonic_ns,
        raw_ns=raw_ns,
        asleep_ns=asleep_ns,
        busy_s=busy_s,
        stolen_s=stolen_s,
        own_s=time.process_time() + sum(_process_s(pid, root) for pid in neighbours),
        cores=cores,
        clock_mhz=_clock_mhz(root),
        throttled=_throttled(root),
        temperature_c=_temperature_c(root),
        waiting_us=int(waiting[1]) if waiting else None,
        load=float(load[0]) if load else None,
        available_mb=int(memory[1]) // 1024 if memory else None,
    )


def disturbances(before: Sample, after: Sample) -> tuple[str, ...]:
    """Say what disturbed the time between two samples; nothing if the latencies may be believed.

    Example:
        >>> quiet = Sample(monotonic_ns=0, raw_ns=0, asleep_ns=0, busy_s=0, stolen_s=0, own_s=0, cores=2)
        >>> later = dataclasses.replace(quiet, monotonic_ns=10**9, raw_ns=10**9, busy_s=1.5, own_s=1.0)
        >>> disturbances(quiet, later)
        ('other work took 25 % of the machine',)
    """
    found = list(clock_faults(before, after))
    wall_s = (after.monotonic_ns - before.monotonic_ns) / 1e9
    if wall_s <= 0:
        return tuple(found)
    capacity_s = wall_s * after.cores
    stolen_s = after.stolen_s - before.stolen_s
    foreign_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    for seconds, words in ((foreign_s, "other work took"), (stolen_s, "the hypervisor took")):
        if seconds > max(_NOTHING_BELOW_S, FOREIGN_ABOVE * capacity_s):
            found.append(f"{words} {100 * seconds / capacity_s:.0f} % of the machine")
    if before.throttled is not None and after.throttled is not None and after.throttled > before.throttled:
        found.append(f"the processor was throttled {after.throttled - before.throttled} times")
    if before.clock_mhz and after.clock_mhz and after.clock_mhz < before.clock_mhz * (1 - SLOWER_CLOCK_ABOVE):
        found.append(f"the processor's clock fell from {before.clock_mhz:.0f} to {after.clock_mhz:.0f} MHz")
    return tuple(found)


def clock_faults(before: Sample, after: Sample) -> tuple[str, ...]:
    """Say whether the clock jumped, or the machine slept, between two samples."""
    passed, raw = after.monotonic_ns - before.monotonic_ns, after.raw_ns - before.raw_ns
    if passed < 0 or raw < 0:
        return ("the clock went backwards",)
    found = []
    if abs(passed - raw) > max(_MS, CLOCKS_APART_ABOVE * max(passed, raw)):
        found.append(f"the clock jumped by {(passed - raw) / _MS:.0f} ms")
    if after.asleep_ns - before.asleep_ns > 10 * _MS:
        found.append(f"the machine slept for {(after.asleep_ns - before.asleep_ns) / _MS:.0f} ms")
    return tuple(found)


def sample_faults(samples_ms: tuple[float, ...], wall_ms: float) -> tuple[str, ...]:
    """Say whether samples cannot be true: negative, all zero, or more than the time that passed."""
    if min(samples_ms) < 0:
        return ("the clock went backwards",)
    if max(samples_ms) == 0:
        return ("the clock stood still",)
    if sum(samples_ms) > wall_ms * (1 + CLOCKS_APART_ABOVE) + 1:
        return (f"the samples sum to {sum(samples_ms):.0f} ms, more than the {wall_ms:.0f} ms that passed",)
    return ()


def environment(root: Path = Path("/")) -> dict[str, Any]:
    """Return what latencies depend on; two machines compare if the key `fingerprint` is equal."""
    machine = facts(root)
    parts: dict[str, Any] = {
        "arch": machine.arch,
        "cpu": machine.cpu,
        "cpu_flags": list(machine.cpu_flags),
        "cores": machine.cores,
        "affinity": sorted(os.sched_getaffinity(0)),
        "cpu_quota": _line(root / "sys/fs/cgroup/cpu.max"),
        "memory_gb": round(machine.memory_mb / 1024),  # what the kernel keeps for itself varies
        "kernel": machine.kernel,
        "python": machine.python,
        "backends": dict(machine.backends),
        "governor": _line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "turbo_off": _line(root / "sys/devices/system/cpu/intel_pstate/no_turbo"),
        "boost": _line(root / "sys/devices/system/cpu/cpufreq/boost"),
        "smt": _line(root / "sys/devices/system/cpu/smt/active"),
        "board": _line(root / "proc/device-tree/model").strip("\0"),
        "l4t": _line(root / "etc/nv_tegra_release"),
        "power_mode": _line(root / "var/lib/nvpmodel/status"),
        "gpu": _gpus(root),
        "gpu_driver": _line(root / "proc/driver/nvidia/version"),
        "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(TELLING_VARIABLES)},
        "edgetl_runtime": __version__,
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return {**parts, "fingerprint": digest}


def differences(one: dict[str, Any], other: dict[str, Any]) -> tuple[str, ...]:
    """Name the parts in which two environments differ; empty if latencies compare.

    Example:
        >>> differences({"cpu": "a", "cores": 2}, {"cpu": "a", "cores": 4})
        ('cores: 2 and 4',)
    """
    keys = [key for key in {**one, **other} if key != "fingerprint"]
    return tuple(f"{key}: {one.get(key)} and {other.get(key)}" for key in keys if one.get(key) != other.get(key))


def _clocks() -> tuple[int, int, int]:
    """Return the monotonic clock, the raw one and the time asleep; of several readings the least interrupted."""
    readings = []
    for _ in range(8):
        monotonic = time.monotonic_ns()
        raw, boot = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        readings.append((time.monotonic_ns() - monotonic, monotonic, raw, boot - monotonic))
    return min(readings)[1:]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # absent here: the fact is then unknown, not an error
        return ""


def _line(path: Path) -> str:
    return _text(path).partition("\n")[0].strip()


def _processor_times(stat: str) -> tuple[float, float, int]:
    """Return busy and stolen seconds of the whole machine, and its cores."""
    lines = stat.splitlines()
    if not lines:
        return 0.0, 0.0, os.cpu_count() or 1
    user, nice, system, _idle, _waiting, irq, softirq, steal = (int(word) for word in lines[0].split()[1:9])
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    cores = sum(re.match(r"cpu\d", line) is not None for line in lines)
    return (user + nice + system + irq + softirq) * tick_s, steal * tick_s, cores


def _process_s(pid: int, root: Path) -> float:
    fields = _text(root / f"proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _numbers(root: Path, pattern: str) -> list[int]:
    words = (_line(path) for path in sorted(root.glob(pattern)))
    return [int(word) for word in words if re.fullmatch(r"-?\d+", word)]


def _clock_mhz(root: Path) -> float | None:
    clocks_khz = _numbers(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    return sum(clocks_khz) / len(clocks_khz) / 1000 if clocks_khz else None


def _throttled(root: Path) -> int | None:
    """Sum x86's throttle counters and, on a Jetson, the throttle alerts that are on."""
    counters = _numbers(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
    alerts = [
        int(_line(device / "cur_state") or 0)
        for device in sorted(root.glob("sys/class/thermal/cooling_device*"))
        if "throttle-alert" in _line(device / "type")
    ]
    return sum(counters) + sum(alerts) if counters or alerts else None


def _temperature_c(root: Path) -> float | None:
    zones = _numbers(root, "sys/class/thermal/thermal_zone*/temp")
    return max(zones) / 1000 if zones else None


def _gpus(root: Path) -> list[str]:
    found = []
    for path in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        model = re.search(r"Model:\s*(.+)", _text(path))
        found.append(model[1].strip() if model else "unknown")
    return found
