"""Facts out of a recording: each function reads one thing, and says None or nothing where the machine does not."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UnfitError
from edgetl_runtime.probe import read_cpu
from edgetl_runtime.schema import from_json

if TYPE_CHECKING:
    from edgetl_runtime.doctor.recording import Recording

# L4T release → JetPack, the longest prefix counts; from NVIDIA's JetPack release notes
JETPACK = {
    "32": "4", "35": "5", "36": "6", "36.2": "6.0 DP", "36.3": "6.0", "36.4.0": "6.1", "36.4.3": "6.2",
    "36.4.4": "6.2.1", "36.4.7": "6.2.1", "36.5": "6.2.2",
    "38": "7", "38.2": "7.0", "38.4": "7.1", "39": "7", "39.2": "7.2",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PowerModes:
    """What nvpmodel offers and which mode is on.

    Attributes:
        modes: Id → name.
        default: Id of the mode after the first boot, None where unknown.
        current: Name of the mode that is on, None where unknown.
    """

    modes: dict[int, str]
    default: int | None
    current: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A thermal zone.

    Attributes:
        name: As the kernel calls it.
        temperature_c: Now.
        throttles_at_c: Lowest trip point from which the kernel slows something down, None where there is none.
    """

    name: str
    temperature_c: float
    throttles_at_c: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TegraStats:
    """One line of tegrastats.

    Attributes:
        ram_used_mb: Of CPU and GPU together.
        ram_total_mb: That programs can have.
        gpu_percent: Load of the GPU, None on boards that do not print it.
        cores_off: Cores switched off by the power mode.
        temperatures_c: Sensor → temperature; sensors that are switched off are left out.
        power_mw: Rail → momentary power; empty without the right to read it.
    """

    ram_used_mb: int
    ram_total_mb: int
    gpu_percent: int | None
    cores_off: int
    temperatures_c: dict[str, float]
    power_mw: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """An NVIDIA card as nvidia-smi describes it."""

    name: str
    driver: str
    compute_capability: str
    memory_mb: int | None


def arch(recording: Recording) -> str:
    """Return the machine type, empty if unknown."""
    return (recording.said("uname").split() or [""])[-1]


def compatible(recording: Recording) -> tuple[str, ...]:
    """Return the device tree's names of this board, the most specific first."""
    return tuple(recording.file("/proc/device-tree/compatible").split())


def l4t(recording: Recording) -> str | None:
    """Return the release of Jetson Linux, for instance `36.4.3`."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", recording.file("/etc/nv_tegra_release"))
    return f"{match[1]}.{match[2]}" if match else None


def jetpack(release: str) -> str | None:
    """Return the JetPack that an L4T release belongs to.

    Example:
        >>> jetpack("36.4.3"), jetpack("36.5.0"), jetpack("36.9"), jetpack("41.1")
        ('6.2', '6.2.2', '6', None)
    """
    parts = release.split(".")
    prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((JETPACK[prefix] for prefix in prefixes if prefix in JETPACK), None)


def power_modes(recording: Recording) -> PowerModes | None:
    """Return the power modes, None where there is no nvpmodel; the mode that is on as nvpmodel, else its file, says."""
    conf = recording.file("/etc/nvpmodel.conf")
    lines = [line for line in conf.splitlines() if not line.lstrip().startswith("#")]
    found = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", "\n".join(lines))
    modes = {int(number): name for number, name in found}
    default = re.search(r"<\s*PM_CONFIG\s+DEFAULT=(\d+)\s*>", "\n".join(lines))
    told = re.search(r"NV Power Mode: (\S+)", recording.said("nvpmodel"))
    status = re.search(r"pmode:(\d+)", recording.file("/var/lib/nvpmodel/status"))
    current = told[1] if told else modes.get(int(status[1])) if status else None
    if not modes and current is None:
        return None
    return PowerModes(modes=modes, default=int(default[1]) if default else None, current=current)


def watts(mode: str) -> float:
    """Return what a power mode's name promises; MAXN knows no limit.

    Example:
        >>> watts("15W"), watts("MODE_30W"), watts("7W_AI"), watts("MAXN_SUPER")
        (15.0, 30.0, 7.0, inf)
    """
    match = re.search(r"(\d+)W", mode)
    return float(match[1]) if match else math.inf


def tegrastats(recording: Recording) -> TegraStats | None:
    """Return the last whole line that tegrastats printed, None where there is none."""
    lines = [line for line in recording.said("tegrastats").splitlines() if re.search(r"\bRAM \d+/\d+MB", line)]
    if not lines:
        return None
    line = lines[-1]
    used, total = (int(part) for part in re.findall(r"\bRAM (\d+)/(\d+)MB", line)[0])
    cpu = re.search(r"CPU \[([^\]]*)\]", line)
    gpu = re.search(r"\b(?:GR3D_FREQ|GR3D) (\d+)%", line)
    temperatures = {name: float(value) for name, value in re.findall(r"\b([A-Za-z]\w*)@(-?[\d.]+)C", line)}
    return TegraStats(
        ram_used_mb=used,
        ram_total_mb=total,
        gpu_percent=int(gpu[1]) if gpu else None,
        cores_off=cpu[1].split(",").count("off") if cpu else 0,
        temperatures_c={name: value for name, value in temperatures.items() if value > -100},
        power_mw={name: int(value) for name, value in re.findall(r"\b([A-Z][A-Z0-9_]+) (\d+)mW", line)},
    )


def zones(recording: Recording) -> tuple[Zone, ...]:
    """Return the thermal zones that can be read; one that is switched off gives no temperature."""
    found = []
    for path, name in recording.match("/sys/class/thermal/thermal_zone*/type").items():
        folder = path.removesuffix("/type")
        text = recording.file(f"{folder}/temp")
        if not re.fullmatch(r"-?\d+", text) or int(text) < -100_000:
            continue
        trips = []
        for trip, kind in recording.match(f"{folder}/trip_point_*_type").items():
            limit = recording.file(trip.removesuffix("_type") + "_temp")
            if kind in ("passive", "hot") and limit.isdigit() and int(limit) > 40_000:
                trips.append(int(limit) / 1000)
        found.append(Zone(name=name, temperature_c=int(text) / 1000, throttles_at_c=min(trips, default=None)))
    return tuple(found)


def memory_mb(recording: Recording) -> tuple[int, int] | None:
    """Return (total, available) memory."""
    found = dict(re.findall(r"(MemTotal|MemAvailable):\s+(\d+) kB", recording.file("/proc/meminfo")))
    if len(found) < 2:
        return None
    return int(found["MemTotal"]) // 1024, int(found["MemAvailable"]) // 1024


def disks_free_mb(recording: Recording) -> dict[str, int]:
    """Return mount point → free space, for the home and for /var/lib."""
    rows = [line.split() for line in recording.said("disk").splitlines()[1:]]
    return {row[5]: int(row[3]) // 1024 for row in rows if len(row) >= 6 and row[3].isdigit()}


def packages(recording: Recording) -> dict[str, str]:
    """Return Debian package → version of the installed ones asked for."""
    rows = [line.split() for line in recording.said("packages").splitlines()]
    if (
        not rows and "packages" in recording.commands
    ):  # dpkg-query fails when one name matches nothing, and prints the rest
        rows = [line.split() for line in recording.commands["packages"].text.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "installed"}


def python(recording: Recording) -> dict[str, Any] | None:
    """Return what the station's interpreter says of itself."""
    return _json(recording.said("python"))


def openvino_devices(recording: Recording) -> dict[str, str] | None:
    """Return OpenVINO's devices and their names, None where OpenVINO is not installed."""
    return _json(recording.said("openvino"))


def gpus(recording: Recording) -> tuple[Gpu, ...]:
    """Return the NVIDIA cards of a PC."""
    found = []
    for line in recording.said("nvidia-smi").splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4:
            memory = re.match(r"(\d+)", parts[3])
            found.append(
                Gpu(
                    name=parts[0],
                    driver=parts[1],
                    compute_capability=parts[2],
                    memory_mb=int(memory[1]) if memory else None,
                )
            )
    return tuple(found)


def cpu(recording: Recording) -> tuple[str, frozenset[str]]:
    """Return the processor's name and those of `probe.CPU_FLAGS` that every core has."""
    name, flags = read_cpu(recording.file("/proc/cpuinfo"))
    return name, frozenset(flags)


def summary(recording: Recording) -> dict[str, Any]:
    """Return the facts a report of a measurement should carry; None where the machine does not say."""
    release, modes, known, interpreter = l4t(recording), power_modes(recording), memory_mb(recording), python(recording)
    debian, uname = packages(recording), recording.said("uname").split()
    tensorrt = next((v for name, v in debian.items() if re.fullmatch(r"libnvinfer\d+", name)), None)
    cuda = next((v for name, v in debian.items() if name.startswith("cuda-cudart-")), None)
    return {
        "arch": arch(recording) or None,
        "kernel": uname[1] if len(uname) == 3 else None,
        "model": next(iter(recording.file("/proc/device-tree/model").splitlines()), None),
        "cpu": cpu(recording)[0] or None,
        "l4t": release,
        "jetpack": jetpack(release) if release else None,
        "tensorrt": tensorrt.split("-")[0] if tensorrt else None,
        "cuda": cuda.split("-")[0] if cuda else None,
        "power_mode": modes.current if modes else None,
        "memory_mb": known[0] if known else None,
        "memory_available_mb": known[1] if known else None,
        "temperatures_c": {zone.name: zone.temperature_c for zone in zones(recording)},
        "gpus": [card.name for card in gpus(recording)],
        "openvino": openvino_devices(recording),
        "python": interpreter,
    }


def _json(text: str) -> dict[str, Any] | None:
    try:
        found = from_json(text.splitlines()[-1].encode(), where="", error=UnfitError, fix="")
    except (UnfitError, UnicodeError, IndexError):
        return None
    return found if isinstance(found, dict) else None
