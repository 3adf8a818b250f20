"""Facts about this machine that decide what it can run and whether its latencies compare.

Linux only: read from /proc and /sys, whose roots can be set for tests.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import platform
from pathlib import Path

from edgetl_runtime import backends
from edgetl_runtime.memory import total_mb

# by the names that /proc/cpuinfo uses; those a variant may require
CPU_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "bf16",
)
_KERNEL_SPELLING = {"avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "avx512bf16": "avx512_bf16"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What this machine is.

    Attributes:
        arch: As `platform.machine()` names it.
        cpu: Model name; empty if the kernel does not say.
        cpu_flags: Those of `CPU_FLAGS` that every core has.
        cores: That this process may use, by affinity and control group; a fraction of a core counts as one.
        memory_mb: Of the machine or the control group, the smaller.
        kernel: Release.
        python: Version.
        backends: Package → version, of the installed backends.
        fingerprint: SHA-256 of what must be equal for latencies to be comparable.
    """

    arch: str
    cpu: str
    cpu_flags: tuple[str, ...]
    cores: int
    memory_mb: int
    kernel: str
    python: str
    backends: dict[str, str]
    fingerprint: str


def arch() -> str:
    """Return the machine type, for instance `x86_64` or `aarch64`."""
    return platform.machine()


@functools.lru_cache(maxsize=8)
def cpu_flags(root: Path = Path("/")) -> tuple[str, ...]:
    """Return those of `CPU_FLAGS` that every core has."""
    return read_cpu(_text(root / "proc/cpuinfo"))[1]


def lacking(required: tuple[str, ...], present: tuple[str, ...]) -> tuple[str, ...]:
    """Return the required flags that are not present; `a|b` is met by either.

    Example:
        >>> lacking(("avx2", "avx512_vnni|avx_vnni"), ("avx2", "avx_vnni"))
        ()
    """
    return tuple(flag for flag in required if not set(flag.split("|")) & set(present))


@functools.lru_cache(maxsize=8)
def facts(root: Path = Path("/")) -> Facts:
    """Read the facts once a process.

    Args:
        root: Where `proc` and `sys` are.
    """
    model, flags = read_cpu(_text(root / "proc/cpuinfo"))
    known: dict[str, object] = {
        "arch": arch(),
        "cpu": model,
        "cpu_flags": flags,
        "cores": _cores(root),
        "memory_mb": total_mb(root),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "backends": backend_versions(),
    }
    # cores may differ by affinity alone: that changes latency, so it is part; free memory does not, so it is not
    parts = {key: known[key] for key in ("arch", "cpu", "cpu_flags", "cores", "kernel", "backends")}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Facts(**known, fingerprint=digest)  # type: ignore[arg-type]


def backend_versions() -> dict[str, str]:
    """Return package → version of the installed backends, from metadata alone."""
    versions = {}
    for name in backends.names():
        package = backends.get(name).info.package
        version = package_version(package) if package else None
        if version is not None:
            versions[package] = version
    return versions


def package_version(package: str) -> str | None:
    """Return the installed version of a package, None if it is not installed."""
    import importlib.metadata  # slow to load, and a station that starts does not ask

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # absent in containers and on other kernels: the fact is then unknown, not an error
        return ""


def read_cpu(cpuinfo: str) -> tuple[str, tuple[str, ...]]:
    """Return the model's name and those of `CPU_FLAGS` common to all cores (big.LITTLE boards have several kinds).

    Args:
        cpuinfo: Text of `/proc/cpuinfo`.
    """
    model = ""
    common: set[str] | None = None
    for line in cpuinfo.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key in ("model name", "Model", "Hardware") and not model:
            model = value
        if key in ("flags", "Features"):
            flags = {_KERNEL_SPELLING.get(flag, flag) for flag in value.split()}
            common = flags if common is None else common & flags
    return model, tuple(flag for flag in CPU_FLAGS if flag in (common or ()))


def _cores(root: Path) -> int:
    allowed = len(os.sched_getaffinity(0))
    quota, _, period = _text(root / "sys/fs/cgroup/cpu.max").strip().partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        return max(1, min(allowed, -(-int(quota) // int(period))))
    return allowed
