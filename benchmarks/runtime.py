"""A run's bundles against eager torch: start, memory, encoded image to decision. `python benchmarks/runtime.py RUN`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
from conditions import conditions, write_record

import edgetl_runtime
from edgetl.deploy.isolation import FRESH, verify
from edgetl.deploy.yardstick import eager_predictor
from edgetl.run import RunFolder
from edgetl_runtime.measure import measure_latency, percentile

STARTS = 7
PEAK = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
ROUNDS = 5
ROUND_ITERATIONS = 60
SIZE_PX = (1280, 960)
GOALS = {
    "openvino": {"start_s": 1.0, "memory_mb": 170},
    "onnxruntime": {"start_s": 0.4, "memory_mb": 110},
}
EAGER = (
    "import sys; from pathlib import Path; from edgetl.run import RunFolder;"
    "from edgetl.deploy.yardstick import eager_predictor;"
    "folder = RunFolder(Path(sys.argv[1])); eager_predictor(folder, folder.read())(Path(sys.argv[2]).read_bytes())"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run")
    args = parser.parse_args()
    before = conditions()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundles = {name: deploy(args.run, name, folder) for name in GOALS}
        images = camera_images(bundles["openvino"], folder)
        record = {
            "schema": "edgetl.bench.runtime/1",
            "starts": starts(args.run, bundles, images[0]),
            "decision": race(args.run, bundles, [path.read_bytes() for path in images]),
            "goals": {**GOALS, "times_faster_than_eager": 4.0},
            "conditions": before,
            "load_after": os.getloadavg()[0],
        }
    sys.stdout.write(json.dumps(record, indent=1) + "\n")
    write_record("runtime", record)
    return 0


def deploy(run: Path, backend: str, folder: Path) -> Path:
    """Write the INT8 bundle of a backend."""
    bundle = folder / f"{backend}.edgetl"
    command = [sys.executable, "-m", "edgetl", "deploy", str(run), "--target", f"ipc-{backend}", "--precision", "int8"]
    subprocess.run([*command, "--out", str(bundle), "--line", "benchmark"], check=True, stdout=subprocess.DEVNULL)
    return bundle


def camera_images(bundle: Path, folder: Path) -> list[Path]:
    """Enlarge the bundle's golden images to camera size and write them as JPEG."""
    paths = []
    with edgetl_runtime.open(bundle) as session:
        for i, name in enumerate(session.manifest.golden.images):
            (folder / "raw").write_bytes(session.bundle.read(name))
            frame = cv2.resize(cv2.imread(str(folder / "raw")), SIZE_PX, interpolation=cv2.INTER_LINEAR)
            paths.append(folder / f"frame{i}.jpg")
            cv2.imwrite(str(paths[-1]), frame, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def starts(run: Path, bundles: dict[str, Path], image: Path) -> dict[str, Any]:
    """Time whole processes from start to first decision, in turn; then ask each for its peak memory."""
    commands = {n: [sys.executable, "-c", FRESH, "predict", str(b), str(image), "--json"] for n, b in bundles.items()}
    commands["eager_torch"] = [sys.executable, "-c", EAGER, str(run), str(image)]
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(STARTS + 1):
        for name, command in commands.items():
            begin = time.monotonic()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            samples[name].append(time.monotonic() - begin)
    # the first of each fills the page cache
    found: dict[str, Any] = {n: {"start_s": statistics.median(s[1:]), "start_s_all": s[1:]} for n, s in samples.items()}
    for name, bundle in bundles.items():
        with edgetl_runtime.open(bundle) as session:
            chosen = session.variant.id
        found[name]["memory_mb"] = verify(bundle, "--variant", chosen)["memory_mb"]
    command = [sys.executable, "-c", EAGER + "\n" + PEAK, str(run), str(image)]
    peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found["eager_torch"]["memory_mb"] = int(peak) / 1024
    return found


def race(run: Path, bundles: dict[str, Path], encoded: list[bytes]) -> dict[str, Any]:
    """Time encoded image to decision, the contestants in interleaved rounds in one process."""
    folder = RunFolder(run)
    sessions = {name: edgetl_runtime.open(path) for name, path in bundles.items()}
    calls: dict[str, Any] = {name: session.predict for name, session in sessions.items()}
    calls["eager_torch"] = eager_predictor(folder, folder.read())
    samples: dict[str, list[float]] = {name: [] for name in calls}
    ratios: dict[str, list[float]] = {name: [] for name in bundles}
    for _ in range(ROUNDS):
        medians = {}
        for name, call in calls.items():
            record = measure_latency(call, encoded, min_iterations=ROUND_ITERATIONS, max_warmup_seconds=1.0)
            samples[name] += record.samples_ms
            medians[name] = statistics.median(record.samples_ms)
        for name in bundles:
            ratios[name].append(medians["eager_torch"] / medians[name])
    for session in sessions.values():
        session.close()
    figures = {n: {"p50_ms": percentile(s, 50), "p99_ms": percentile(s, 99), "n": len(s)} for n, s in samples.items()}
    return {"image": f"{SIZE_PX[0]}x{SIZE_PX[1]} JPEG", **figures, "times_faster_than_eager": ratios}


if __name__ == "__main__":
    sys.exit(main())
