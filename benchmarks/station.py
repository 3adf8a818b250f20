"""Neighbours, tails and starts on this machine: `python benchmarks/station.py OPENVINO.edgetl ORT.edgetl`.

What a neighbour costs is measured in short turns, with it and with it stopped, in the same process: the speed of a
shared machine changes more from minute to minute than any neighbour slows it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conditions import conditions, write_record

from edgetl_runtime.bench import images, measuring
from edgetl_runtime.bench.compare import difference
from edgetl_runtime.bench.processes import Worker
from edgetl_runtime.bench.record import Round
from edgetl_runtime.bench.rounds import Rig, Settings, target
from edgetl_runtime.bundle import open_bundle

if TYPE_CHECKING:
    from edgetl_runtime.bench.record import Record

GOALS = {"interference": 1.15, "tail": 1.15, "start_s": {"openvino": 0.9, "openvino_cached": 0.55, "onnxruntime": 0.35}}
PROCESSES, NEIGHBOUR_TURNS = 5, 20


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
    beside = {
        name: slowed(bundles[name], bundles[other]) for name, other in zip(bundles, [*bundles][::-1], strict=True)
    }
    ratio = relative(bundles, Settings(iterations=100, seconds=1.0, warmup_s=2.0, allow_disturbed=True))
    with tempfile.TemporaryDirectory() as cache:
        quick = Settings(iterations=5, seconds=0, warmup_s=0.1, network=False, cache_dir=cache, allow_disturbed=True)
        measuring.bench(target(args.openvino), rounds=1, settings=quick)  # fills the cache
        cached = measuring.bench(target(args.openvino), rounds=args.rounds, settings=quick)
    p50 = {name: record.summary["decision_ms"]["p50"] for name, record in alone.items()}
    started = {**alone, "openvino_cached": cached}
    starts = {name: record.summary["start_ms"] / 1000 for name, record in started.items()}
    # against the sum of both times alone
    interference = {
        "openvino": beside["openvino"] / (1 + ratio),
        "onnxruntime": beside["onnxruntime"] / (1 + 1 / ratio),
    }
    record = {
        "schema": "edgetl.bench.station/1",
        "alone_p50_ms": p50,
        "slowed_by_neighbour": beside,
        "onnxruntime_over_openvino": ratio,
        "interference": interference,
        "tail": {name: tail(r) for name, r in alone.items()},
        "start_s": starts,
        "best_start_s": {name: min(r.start_ms or 0 for r in record.rounds) / 1000 for name, record in started.items()},
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


def slowed(bundle: Path, other: Path) -> float:
    """Return how many times longer a decision takes while another bundle decides all the time, over five processes."""
    ratios = []
    job = {"kind": "round", "bundle": str(bundle), "network": False, "warmup_s": 2.0, "turns": NEIGHBOUR_TURNS}
    with Worker({"kind": "neighbour", "bundle": str(other)}, timeout_s=300) as neighbour:
        neighbour.wait_until("ready")
        for _ in range(PROCESSES):
            os.kill(neighbour.pid, signal.SIGSTOP)
            with Worker({**job, "iterations": 20 * NEIGHBOUR_TURNS, "seconds": 0.0}, timeout_s=300) as worker:
                worker.wait_until("ready")
                for turn in range(NEIGHBOUR_TURNS):
                    os.kill(neighbour.pid, signal.SIGCONT if turn % 2 else signal.SIGSTOP)
                    worker.go([neighbour.pid])
                    worker.wait_until("timed")
                os.kill(neighbour.pid, signal.SIGSTOP)
                worker.go()
                answer = worker.answer()
            found = Round(
                side="A", index=0, steady=True, decision_ms=tuple(answer["decision_ms"]), turns=tuple(answer["turns"])
            ).turn_medians("decision")
            ratios += [with_it / without for without, with_it in zip(found[::2], found[1::2], strict=True)]
    return statistics.median(ratios)


def relative(bundles: dict[str, Path], settings: Settings) -> float:
    """Return the time of the second bundle over that of the first, from rounds that take turns."""
    a, b = (target(path) for path in bundles.values())
    with open_bundle(a.path) as bundle:
        chosen = images.of_bundle(bundle)
    with Rig({"A": a, "B": b}, chosen, settings, planned=2 * PROCESSES) as rig:
        pairs = [rig.pair(("AB", "BA")[i % 2], i) for i in range(PROCESSES)]
    return math.exp(statistics.median(difference(one, other, "decision") for one, other in pairs))


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
