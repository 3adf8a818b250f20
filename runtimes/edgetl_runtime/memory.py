"""How much memory this process has taken of the machine's, the part that a GPU took for it included.

On a Jetson the GPU's memory is the CPU's, and what the driver takes for a process is in nobody's resident memory. The
kernel module `nvmap` tells it for each process, to root, on Orin; else what MemAvailable has fallen by since the start
is taken, less what this process took itself. Neither was compared with a board. Where both say less than what was
certainly allocated, nothing is known, and None is what is said.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

# a line of `nvmap_debug_clients_show` in NVIDIA's kernel sources: client, process, its id, size
_CLIENT = re.compile(r"^\S+\s+.*\s(\d+)\s+(\d+)K$")
_NVMAP = "sys/kernel/debug/nvmap/iovmm/clients"
_KB_PER_MB = 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a process has taken.

    Attributes:
        peak_mb: Largest so far; None where it is not known.
        resident_mb: Largest resident memory so far, which is the least that was taken; None where it is not known.
        source: Where that comes from, or why it is not known.
    """

    peak_mb: float | None
    resident_mb: float | None
    source: str


class Meter:
    """Begins before a model is loaded, and is read when it has run.

    Args:
        root: Of the file system.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._available_mb = available_mb(root)
        self._own_mb = self._anonymous_mb()

    def read(self, *, unseen_mb: float) -> Taken:
        """Return what was taken.

        Args:
            unseen_mb: What the loaded model has certainly allocated outside of resident memory; 0 for CPUs.
        """
        resident_mb = peak_memory_mb(self._root / "proc/self/status")

        def taken(gpu_mb: float | None, source: str) -> Taken:
            peak_mb = None if gpu_mb is None or resident_mb is None else resident_mb + gpu_mb
            return Taken(peak_mb=peak_mb, resident_mb=resident_mb, source=source)

        if resident_mb is None:
            return taken(None, "the kernel does not say")
        if unseen_mb <= 0:
            return taken(0.0, "resident")
        by_nvmap_mb = self._nvmap_mb()
        if by_nvmap_mb is not None and by_nvmap_mb >= unseen_mb:
            return taken(by_nvmap_mb, "resident, and the GPU's by nvmap")
        fallen_mb = self._available_mb - available_mb(self._root) - (self._anonymous_mb() - self._own_mb)
        if unseen_mb <= fallen_mb < float("inf"):
            return taken(fallen_mb, "resident, and the GPU's by what MemAvailable fell")
        return taken(None, f"{resident_mb:.0f} MB resident, the GPU's share is not known")

    def _nvmap_mb(self) -> float | None:
        try:
            lines = (self._root / _NVMAP).read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:  # not root, or no such module
            return None
        found = [match for line in lines if (match := _CLIENT.match(line.strip()))]
        own = [int(match[2]) for match in found if int(match[1]) == os.getpid()]
        return sum(own) / _KB_PER_MB if own else None

    def _anonymous_mb(self) -> float:
        """Return what MemAvailable has lost to this process itself: its pages that no file holds."""
        fields = _fields(self._root / "proc/self/status")
        return fields.get("RssAnon", 0.0) + fields.get("RssShmem", 0.0)


def available_mb(root: Path = Path("/")) -> float:
    """Return the memory that new programs can have, in MB; infinite where a kernel older than 3.14 does not say."""
    return _fields(root / "proc/meminfo").get("MemAvailable", float("inf"))


def total_mb(root: Path = Path("/")) -> int:
    """Return the memory of the machine or of the control group, the smaller, in MB; 0 where the kernel does not say."""
    try:
        machine_mb = int(_fields(root / "proc/meminfo").get("MemTotal", 0.0))
    except OSError:  # absent in some containers
        machine_mb = 0
    try:
        limit = (root / "sys/fs/cgroup/memory.max").read_text(encoding="utf-8").strip()
    except OSError:  # no control group
        return machine_mb
    return min(machine_mb, int(limit) // 2**20) if limit.isdigit() else machine_mb


def peak_memory_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """Return the largest resident memory of this process so far, in MB; None where the kernel does not say.

    Not `ru_maxrss`: that one starts at the size of the parent, so that a large parent makes every child look large.
    """
    return _fields(status).get("VmHWM")


def _fields(path: Path) -> dict[str, float]:
    """Return the sizes that a file of the kernel tells, in MB; it counts in KiB."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return {words[0].rstrip(":"): int(words[1]) / _KB_PER_MB for words in lines if words[-1:] == ["kB"]}
