"""Whether the clocks stand still: where they follow the load, the first parts after a pause take longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetl_runtime.doctor import readers
from edgetl_runtime.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.doctor.findings import Need
    from edgetl_runtime.doctor.recording import Recording

_CPUFREQ = "/sys/devices/system/cpu/cpu*/cpufreq/"


def check(recording: Recording, need: Need) -> Iterator[Finding]:
    """Look at the limits and governors of the cores, and of a Jetson's GPU."""
    low = recording.match(_CPUFREQ + "scaling_min_freq")
    high = recording.match(_CPUFREQ + "scaling_max_freq")
    governors = set(recording.match(_CPUFREQ + "scaling_governor").values())
    jetson = readers.l4t(recording) is not None
    command = "sudo jetson_clocks" if jetson else "sudo cpupower frequency-set -g performance"
    if not high:
        yield Finding(
            topic="clocks",
            level="unknown",
            found="the kernel does not show the cores' clocks (as in a virtual machine)",
        )
    elif list(low.values()) == list(high.values()) or governors == {"performance"}:
        yield Finding(topic="clocks", level="ok", found=f"the cores' clocks stand still at {_mhz(high)}")
    else:
        found = (
            f"the cores' clocks follow the load between {_mhz(low)} and {_mhz(high)} ({', '.join(sorted(governors))})"
        )
        yield Finding(topic="clocks", level="warn", found=found, command=command)
    for path, text in recording.match("/sys/class/devfreq/*gpu*/max_freq").items():
        lowest = recording.file(path.replace("max_freq", "min_freq"))
        governor = recording.file(path.replace("max_freq", "governor"))
        if not (text.isdigit() and lowest.isdigit()):
            continue
        name, mhz = path.split("/")[4], f"{int(text) / 1e6:.0f} MHz"
        if lowest == text or governor == "performance":
            yield Finding(topic="clocks", level="ok", found=f"the clock of {name} stands still at {mhz}")
        else:
            found = f"the clock of {name} follows the load between {int(lowest) / 1e6:.0f} and {mhz}"
            yield Finding(topic="clocks", level="warn", found=found, command="sudo jetson_clocks")


def _mhz(values: dict[str, str]) -> str:
    known = sorted({int(value) // 1000 for value in values.values() if value.isdigit()})
    return " or ".join(f"{value} MHz" for value in known) or "an unknown clock"
