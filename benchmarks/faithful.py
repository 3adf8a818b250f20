"""Our network latency against OpenVINO's benchmark_app and MLPerf LoadGen, and what our wrapper costs.

`python benchmarks/faithful.py BUNDLE`: the three in turn, each in fresh processes, on the same model and threads.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from conditions import conditions, write_record
from environments import python_of

import edgetl_runtime
from edgetl_runtime.bench.rounds import WORKER

GOALS = {"within": 0.03, "wrapper_us": 40.0}
CALLS = 2000
HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="with an OpenVINO variant")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="timed by each tool in each round")
    parser.add_argument("--trial", action="store_true", help="record nothing")
    args = parser.parse_args()
    before = conditions()
    with tempfile.TemporaryDirectory() as folder, edgetl_runtime.open(args.bundle, backend="openvino") as session:
        model = Path(folder) / "model.onnx"
        model.write_bytes(session.bundle.read(session.variant.files["model"]))
        tools = {
            "edgetl": lambda: ours(args.bundle, session.variant.id, args.seconds),
            "benchmark_app": lambda: benchmark_app(model, session, args.seconds),
            "loadgen": lambda: loadgen(args.bundle, session.variant.id, args.seconds),
        }
        rounds = [{name: tool() for name, tool in tools.items()} for _ in range(args.rounds)]
        overhead = wrapper_us(session)
    p50 = {name: statistics.median(r[name]["p50_ms"] for r in rounds) for name in tools}
    p90 = {name: statistics.median(r[name]["p90_ms"] for r in rounds) for name in ("edgetl", "loadgen")}
    apart = {
        "benchmark_app_p50": statistics.median(
            r["edgetl"]["p50_ms"] / r["benchmark_app"]["p50_ms"] - 1 for r in rounds
        ),
        "loadgen_p90": statistics.median(r["edgetl"]["p90_ms"] / r["loadgen"]["p90_ms"] - 1 for r in rounds),
    }
    record = {
        "schema": "edgetl.bench.faithful/1",
        "variant": session.variant.id,
        "threads": session.variant.options.threads,
        "p50_ms": p50,
        "p90_ms": p90,
        "apart": apart,
        "wrapper_us": overhead,
        "rounds": rounds,
        "goals": GOALS,
        "met": {
            **{name: abs(value) <= GOALS["within"] for name, value in apart.items()},
            "wrapper": overhead <= GOALS["wrapper_us"],
        },
        "conditions": before,
        "load_after": conditions()["load"],
    }
    sys.stdout.write(json.dumps({k: record[k] for k in ("p50_ms", "p90_ms", "apart", "wrapper_us", "met")}) + "\n")
    if not args.trial:
        write_record("faithful", record)
    return 0 if all(record["met"].values()) else 1


def ours(bundle: Path, variant: str, seconds: float) -> dict[str, float]:
    """Ask a worker, as `edgetl bench` does; it times the network for half of the seconds of a round."""
    job = {"kind": "round", "bundle": str(bundle), "variant": variant, "seconds": 2 * seconds, "iterations": 300}
    done = subprocess.run(WORKER, input=json.dumps(job) + "\n", capture_output=True, text=True, check=True)
    samples = sorted(json.loads(done.stdout)["network_ms"])
    return {"p50_ms": statistics.median(samples), "p90_ms": samples[int(0.9 * len(samples))], "n": len(samples)}


def benchmark_app(model: Path, session: edgetl_runtime.Session, seconds: float) -> dict[str, float]:
    """Run OpenVINO's tool with the variant's threads and precision; it reports the median."""
    spec, options = session.manifest.preprocess, session.variant.options
    precision = "f32" if session.variant.precision == "int8" else session.variant.precision
    command = [
        str(Path(sys.executable).with_name("benchmark_app")), "-m", str(model), "-d", "CPU", "-api", "sync",
        "-hint", "none", "-nstreams", "1", "-infer_precision", precision, "-t", str(max(1, round(seconds))),
        "-shape", f"[1,{spec.height_px},{spec.width_px},3]", "-report_type", "no_counters",
    ]  # fmt: skip
    command += ["-nthreads", str(options.threads)] if options.threads else []
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    found = re.search(r"Median:\s+([\d.]+) ms", done.stdout)
    if found is None:
        raise SystemExit(f"benchmark_app said no median:\n{done.stdout[-800:]}")
    return {"p50_ms": float(found[1])}


def loadgen(bundle: Path, variant: str, seconds: float) -> dict[str, float]:
    """Let MLPerf LoadGen drive the same compiled model, SingleStream."""
    command = [str(python_of("loadgen")), str(HERE / "peers" / "loadgen.py"), str(bundle), variant, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def wrapper_us(session: edgetl_runtime.Session) -> float:
    """Return what a call through the session costs beyond the raw request, in microseconds; calls alternate."""
    spec = session.manifest.preprocess
    batch = np.zeros((1, spec.height_px, spec.width_px, 3), np.uint8)
    raw: Any = session._model
    times: dict[str, list[int]] = {"session": [], "raw": []}
    for _ in range(CALLS):
        begin = time.monotonic_ns()
        session.infer(batch)
        middle = time.monotonic_ns()
        raw._request.infer({0: batch}, share_inputs=True, share_outputs=True)
        end = time.monotonic_ns()
        times["session"].append(middle - begin)
        times["raw"].append(end - middle)
    return (statistics.median(times["session"]) - statistics.median(times["raw"])) / 1000


if __name__ == "__main__":
    sys.exit(main())
