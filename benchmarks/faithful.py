"""Our network latency against OpenVINO's benchmark_app and MLPerf LoadGen, and what our wrapper costs.

`python benchmarks/faithful.py BUNDLE`: the three on the same model and threads, each in a fresh process a round. All
live at the same time and are let run for half a second one after the other, so that all see the same moods of the
machine; what is stopped in the middle of a call is one sample in a hundred, of each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from conditions import conditions, write_record
from environments import python_of

import edgetl_runtime
from edgetl_runtime.bench.processes import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

GOALS = {"within": 0.03, "wrapper_us": 40.0}
CALLS = 2000
SLICE_S = 0.5
UNBUFFERED = {**os.environ, "PYTHONUNBUFFERED": "1"}
HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="with an OpenVINO variant")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="timed by each tool in each round")
    parser.add_argument("--trial", action="store_true", help="record nothing")
    args = parser.parse_args()
    before = conditions()
    with tempfile.TemporaryDirectory() as folder, edgetl_runtime.open(args.bundle, backend="openvino") as session:
        model = Path(folder) / "model.onnx"
        model.write_bytes(session.bundle.read(session.variant.files["model"]))
        rounds = [one_round(args.bundle, model, session, args.seconds) for _ in range(args.rounds)]
        overhead = wrapper_us(session)
    p50 = {name: statistics.median(r[name]["p50_ms"] for r in rounds) for name in rounds[0]}
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


def one_round(
    bundle: Path, model: Path, session: edgetl_runtime.Session, seconds: float
) -> dict[str, dict[str, float]]:
    """Start the three, let each work while the others are stopped, and return what they say."""
    slices = max(2, round(seconds / SLICE_S))
    # their clocks go on while they are stopped: two slices of theirs, one of our network, two of whole decisions
    wall_s = slices * (5 * SLICE_S + 0.1)
    job = {
        "kind": "round", "bundle": str(bundle), "variant": session.variant.id, "turns": slices, "iterations": 5,
        "seconds": 2 * SLICE_S * slices, "warmup_s": 1.0,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        app = stack.enter_context(started(benchmark_app(model, session, wall_s), until="Measuring performance"))
        generator = stack.enter_context(started(loadgen(bundle, session.variant.id, wall_s), until="ready"))
        worker = stack.enter_context(Worker(job, timeout_s=300))
        worker.wait_until("ready")
        for _ in range(slices):
            worker.go([app.pid, generator.pid])
            worker.wait_until("timed")
            for tool in (app, generator):
                tool.send_signal(signal.SIGCONT)
                time.sleep(SLICE_S)
                tool.send_signal(signal.SIGSTOP)
        worker.go()
        samples = sorted(worker.answer()["network_ms"])
        said = {}
        for tool in (app, generator):
            tool.send_signal(signal.SIGCONT)
            said[tool] = tool.communicate(timeout=120)[0]
    median = re.search(r"Median:\s+([\d.]+) ms", said[app])
    if median is None:
        raise SystemExit(f"benchmark_app said no median:\n{said[app][-800:]}")
    return {
        "edgetl": {"p50_ms": statistics.median(samples), "p90_ms": samples[int(0.9 * len(samples))], "n": len(samples)},
        "benchmark_app": {"p50_ms": float(median[1])},
        "loadgen": json.loads(said[generator].splitlines()[-1]),
    }


@contextlib.contextmanager
def started(command: list[str], *, until: str) -> Iterator[subprocess.Popen[str]]:
    """Start a tool, and stop it for now when it says that it is about to measure."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder, env=UNBUFFERED
        ) as tool,
    ):
        try:
            for line in tool.stdout or ():
                if until in line:
                    break
            tool.send_signal(signal.SIGSTOP)
            yield tool
        finally:
            tool.kill()


def benchmark_app(model: Path, session: edgetl_runtime.Session, seconds: float) -> list[str]:
    """Return the command of OpenVINO's tool with the variant's threads and precision; it reports the median."""
    spec, options = session.manifest.preprocess, session.variant.options
    precision = "f32" if session.variant.precision == "int8" else session.variant.precision
    command = [
        str(Path(sys.executable).with_name("benchmark_app")), "-m", str(model), "-d", "CPU", "-api", "sync",
        "-hint", "none", "-nstreams", "1", "-infer_precision", precision, "-t", str(max(1, round(seconds))),
        "-shape", f"[1,{spec.height_px},{spec.width_px},3]", "-report_type", "no_counters",
    ]  # fmt: skip
    return [*command, "-nthreads", str(options.threads)] if options.threads else command


def loadgen(bundle: Path, variant: str, seconds: float) -> list[str]:
    """Return the command that lets MLPerf LoadGen drive the same compiled model, SingleStream."""
    return [str(python_of("loadgen")), str(HERE / "peers" / "loadgen.py"), str(bundle.resolve()), variant, str(seconds)]


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
