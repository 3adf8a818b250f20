"""Whether there is room in memory; on a Jetson the GPU takes from the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetl_runtime.doctor import readers
from edgetl_runtime.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.doctor.findings import Need
    from edgetl_runtime.doctor.recording import Recording

ENGINE_BUILD_MB = 1500  # what building an engine of these networks may take beside the station, on one memory


def check(recording: Recording, need: Need) -> Iterator[Finding]:
    """Compare free memory with what the station and, on a Jetson, an engine's build need."""
    known = readers.memory_mb(recording)
    if known is None:
        yield Finding(topic="memory", level="unknown", found="this machine does not say how much memory it has")
        return
    total, available = known
    jetson = readers.l4t(recording) is not None
    found = f"{available} of {total} MB are free"
    stop = (
        "sudo systemctl set-default multi-user.target && sudo reboot   # without the desktop"
        if jetson
        else "stop other programs: top -o %MEM"
    )
    if available < need.memory_mb:
        yield Finding(topic="memory", level="fail", found=f"{found}, the station needs {need.memory_mb}", command=stop)
    elif jetson and available < ENGINE_BUILD_MB:
        words = f"{found}, building an engine may need {ENGINE_BUILD_MB}"
        yield Finding(topic="memory", level="warn", found=words, command=stop)
    else:
        yield Finding(topic="memory", level="ok", found=found)
    limit = recording.file("/sys/fs/cgroup/memory.max")
    if limit.isdigit() and int(limit) // 2**20 < need.memory_mb:
        words = f"the control group allows {int(limit) // 2**20} MB only"
        command = f"raise MemoryMax= of the service to at least {need.memory_mb}M"
        yield Finding(topic="memory", level="fail", found=words, command=command)
