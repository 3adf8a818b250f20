"""Swaps generations under load: failed requests, latency during the swaps, memory after many of them.

    python benchmarks/hot_swap.py part.edgetl --swaps 200

The bundle is installed as two generations in turn, while requests follow each other without a pause.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from conditions import conditions, write_record

from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer, InstallOptions
from edgetl_runtime.install.live_session import LiveSession
from edgetl_runtime.measure import percentile

LONGEST_SWAP_S = 120.0


def twin(source: Path, target: Path, sequence: int, variant: str | None) -> str:
    """Write the bundle again under another sequence; return the variant that is run."""
    with open_bundle(source) as bundle:
        fields = bundle.manifest
        members = {entry.name: bundle.read(entry.name) for entry in fields.files}
    chosen = variant or fields.chosen
    # no bound on latency: the machine's load must not end a trial here
    changed = dataclasses.replace(fields, sequence=sequence, contract=Contract(), files=(), chosen=chosen)
    write_bundle(target, changed, members)
    return chosen


class Load:
    """Requests one after the other, each with its time and latency."""

    def __init__(self, live: LiveSession, image: bytes) -> None:
        self.live, self.image = live, image
        self.samples: list[tuple[float, float]] = []
        self.failed: list[str] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self.stop.is_set():
            start = time.monotonic()
            try:
                self.live.predict(self.image)
            except EdgetlError as error:
                self.failed.append(error.sentence)
            self.samples.append((start, 1000 * (time.monotonic() - start)))


def resident_mb() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def swap_often(device: Device, bundles: list[Path], swaps: int, seconds: float) -> dict[str, Any]:
    """Swap between two generations under load."""
    passed = {"passed": True, "reason": "", "breaches": [], "memory_mb": 0.0}
    installer = Installer(Device(device.root), self_test=lambda *_: passed)
    options = InstallOptions(allow_unsigned=True)
    installer.install(bundles[0], options)
    installer.device.commit()
    memory: list[float] = []
    end = time.monotonic() + seconds
    with LiveSession(device, trial_seconds=0.0, trial_inferences=10**9, poll_s=0.01) as live:
        with open_bundle(bundles[0]) as bundle:
            load = Load(live, bundle.read(bundle.manifest.golden.images[0]))
        load.thread.start()
        while len(live.swaps) < swaps and time.monotonic() < end:
            known = len(live.swaps)
            if known % 2 == 0:
                installer.install(bundles[1], options)
            else:
                installer.device.rollback(reason="swap back")
            limit = time.monotonic() + LONGEST_SWAP_S
            while len(live.swaps) == known and time.monotonic() < limit:
                time.sleep(0.005)
            memory.append(resident_mb())
            time.sleep(0.05)
        load.stop.set()
        load.thread.join()
        return _figures(live, load, memory)


def _figures(live: LiveSession, load: Load, memory: list[float]) -> dict[str, Any]:
    windows = [(swap.done_s - swap.load_ms / 1000, swap.done_s) for swap in live.swaps if swap.load_ms > 1]
    during = [ms for start, ms in load.samples if any(a <= start <= b for a, b in windows)]
    beside = [ms for start, ms in load.samples if not any(a - 0.05 <= start <= b + 0.05 for a, b in windows)]
    settled = memory[len(memory) // 4 :]
    slope = float(np.polyfit(range(len(settled)), settled, 1)[0]) if len(settled) > 3 else None
    return {
        "requests": len(load.samples),
        "failed": len(load.failed),
        "swaps": len(live.swaps),
        "plans": sorted({swap.plan for swap in live.swaps}),
        "requests_during_swaps": len(during),
        "p50_ms": percentile(beside, 50),
        "p99_ms": percentile(beside, 99),
        "p50_during_ms": percentile(during, 50),
        "p99_during_ms": percentile(during, 99),
        "max_ms": max((ms for _, ms in load.samples), default=None),
        "memory_mb": [round(memory[0], 1), round(memory[-1], 1)] if memory else None,
        "memory_slope_mb_per_swap": slope,
    }


def main() -> int:
    """Swap and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=500.0)
    parser.add_argument("--variant")
    parser.add_argument("--record", default="hot_swap", help="name of the record")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundles = [folder / "a.edgetl", folder / "b.edgetl"]
        for sequence, path in enumerate(bundles, start=1):
            variant = twin(args.bundle, path, sequence, args.variant)
        found = swap_often(Device(folder / "root"), bundles, args.swaps, args.seconds)
    size_mb = round(args.bundle.stat().st_size / 1e6, 1)
    record = {
        "schema": "edgetl.hot_swap/1",
        "variant": variant,
        "bundle_mb": size_mb,
        **found,
        "conditions": conditions(),
    }
    path = write_record(args.record, record)
    sys.stdout.write("".join(f"{key}: {value}\n" for key, value in record.items()) + f"recorded in {path}\n")
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
