"""Neighbours, tails and starts on this machine: `python benchmarks/station.py OPENVINO.edgetl ORT.edgetl`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conditions import conditions, write_record

from edgetl_runtime.bench import images, measuring
from edgetl_runtime.bench.processes import Worker
from edgetl_runtime.bench.rounds import Settings, Station, collect, target
from edgetl_runtime.bundle import open_bundle

if TYPE_CHECKING:
    from edgetl_runtime.bench.record import Record

GOALS = {"interference": 1.15, "tail": 1.15, "start_s": {"openvino": 0.9, "openvino_cached": 0.55, "onnxruntime": 0.35}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("openvino", type=Path, metavar="OPENVINO.edgetl")
    parser.add_argument("onnxruntime", type=Path, metavar="ORT.edgetl")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--trial", action="store_true", help="count disturbed rounds, record nothing")
    args = parser.parse_args()
    before = conditions()
    settings = Settings(iterations=300, seconds=1.0, warmup_s=2.0, allow_disturbed=args.trial)
    bundles = {"openvino": args.openvino, "onnxruntime": args.onnxruntime}
    alone = {
        name: measuring.bench(target(path), rounds=args.rounds, settings=settings) for name, path in bundles.items()
    }
    together = {name: beside(name, bundles, settings, args.rounds) for name in bundles}
    with tempfile.TemporaryDirectory() as cache:
        quick = Settings(iterations=5, seconds=0, warmup_s=0.1, network=False, cache_dir=cache, allow_disturbed=True)
        measuring.bench(target(args.openvino), rounds=1, settings=quick)  # fills the cache
        cached = measuring.bench(target(args.openvino), rounds=args.rounds, settings=quick)
    p50 = {name: record.summary["decision_ms"]["p50"] for name, record in alone.items()}
    starts = {name: record.summary["start_ms"] / 1000 for name, record in alone.items()}
    starts["openvino_cached"] = cached.summary["start_ms"] / 1000
    record = {
        "schema": "edgetl.bench.station/1",
        "alone_p50_ms": p50,
        "together_p50_ms": together,
        "interference": {name: together[name] / sum(p50.values()) for name in bundles},
        "tail": {name: tail(r) for name, r in alone.items()},
        "start_s": starts,
        "goals": GOALS,
        "conditions": before,
        "load_after": conditions()["load"],
    }
    record["met"] = {
        "interference": all(share <= GOALS["interference"] for share in record["interference"].values()),
        "tail": all(t["best"] <= GOALS["tail"] for t in record["tail"].values()),
        **{f"start {name}": starts[name] <= goal for name, goal in GOALS["start_s"].items()},
    }
    sys.stdout.write(json.dumps(record, indent=1) + "\n")
    if not args.trial:
        write_record("station", record)
    return 0 if all(record["met"].values()) else 1


def beside(name: str, bundles: dict[str, Path], settings: Settings, rounds: int) -> float:
    """Return the median of one bundle while the other decides all the time in a process of its own."""
    other = next(n for n in bundles if n != name)
    item = target(bundles[name])
    with open_bundle(item.path) as bundle:
        chosen = images.of_bundle(bundle)
    with Station({"A": item}, chosen, settings, planned=rounds) as station:
        station.join(Worker({"kind": "neighbour", "bundle": str(bundles[other])}, timeout_s=settings.timeout_s))
        found = collect(station, "A", max(3, rounds // 2))
    return statistics.median(r.p50_ms for r in found)


def tail(record: Record) -> dict[str, Any]:
    """Return p99 / p50 of the network in every round that has samples enough."""
    ratios = []
    for r in record.rounds:
        samples = sorted(r.network_ms)
        if len(samples) >= 299:
            ratios.append(samples[-(-99 * len(samples) // 100) - 1] / statistics.median(samples))
    return {"best": min(ratios), "median": statistics.median(ratios), "all": ratios}


if __name__ == "__main__":
    sys.exit(main())
