"""What every recorded figure depends on, and where records are kept."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from edgetl_runtime.durable import write_whole
from edgetl_runtime.errors import UsageError
from edgetl_runtime.probe import facts

RESULTS = Path(__file__).parent / "results"
TELLING_FLAGS = ("avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp")


def device_name() -> str:
    """Name the kind of machine: architecture, cores, the instruction sets that decide its speed; never a host."""
    machine = facts()
    sets = [flag for flag in TELLING_FLAGS if flag in machine.cpu_flags]
    return "-".join([machine.arch, f"{machine.cores}core", *(sets or ["plain"])])


def conditions() -> dict[str, Any]:
    """Return the machine, how busy it is, and what code runs."""
    machine = facts()
    return {
        "cpu": machine.cpu,
        "cores": machine.cores,
        "cpu_flags": list(machine.cpu_flags),
        "memory_mb": machine.memory_mb,
        "kernel": machine.kernel,
        "load": os.getloadavg()[0],
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "commit": _git("rev-parse", "HEAD"),
        "clean": not _git("status", "--porcelain", "--untracked-files=no"),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def record_path(name: str) -> Path:
    """Return where the record of this name is kept: below `results/<device>/`."""
    return RESULTS / device_name() / f"{name}.json"


def write_record(name: str, record: dict[str, Any]) -> Path:
    """Keep a record, in place of the last one of this name, which must be of the same benchmark.

    Raises:
        UsageError: The name is that of another benchmark's record, which stays as it is.
    """
    path = record_path(name)
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))["schema"]
        if _kind(before) != _kind(record["schema"]):
            got = f"the name of a record of {before}"
            raise UsageError(f"record {name}", f"of {record['schema']}", got, fix="choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(record, indent=1) + "\n").encode())
    return path


def _kind(schema: str) -> str:
    return schema.partition("/")[0]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)  # noqa: S607  (git of the PATH)
    return done.stdout.strip()
