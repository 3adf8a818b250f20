"""Encoded image to class against peers, in the same run: `python benchmarks/peers.py RUN OPENVINO.edgetl ORT.edgetl`.

Every peer decides on the same 1280x960 JPEGs in a fresh process of its own environment, in turn, round by round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from conditions import conditions, write_record
from environments import peers, python_of

import edgetl_runtime
from edgetl_runtime.measure import percentile

HERE = Path(__file__).parent
SIZE_PX, FRAME_PX = (1280, 960), (640, 480)
GOALS = {"torch-eager": 5.0, "packaged": 2.0, "cv2-onnxruntime": 1.4, "others": 1.0, "outside_share": 0.25}
BUNDLES = ("edgetl-openvino", "edgetl-onnxruntime")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("bundles", type=Path, nargs=2, metavar="BUNDLE", help="an OpenVINO one, an ONNX Runtime one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--only", nargs="+", help="these peers")
    parser.add_argument("--trial", action="store_true", help="record nothing")
    args = parser.parse_args()
    before = conditions()
    names = [name for name in peers() if name != "loadgen" and name in (args.only or peers())]
    pythons = {name: python_of(name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        images, model = prepare(args.bundles, Path(folder))
        rounds = [one_round(args, names, pythons, images, model) for _ in range(args.rounds)]
        outside = outside_share(args.bundles[0])
    found = {name: figures(name, rounds) for name in names}
    fastest = min((n for n in BUNDLES if found.get(n, {}).get("p50_ms")), key=lambda n: found[n]["p50_ms"])
    record = {
        "schema": "edgetl.bench.peers/1",
        "image": f"{SIZE_PX[0]}x{SIZE_PX[1]} JPEG, quality 90, in memory, batch 1",
        "peers": found,
        "times": {name: times(rounds, fastest, name) for name in names if name not in BUNDLES},
        "fastest": fastest,
        "outside_the_network": outside,
        "goals": GOALS,
        "conditions": before,
        "load_after": conditions()["load"],
    }
    record["met"] = met(record)
    sys.stdout.write(json.dumps({k: record[k] for k in ("times", "outside_the_network", "met")}, indent=1) + "\n")
    if not args.trial:
        write_record("peers", record)
    return 0 if all(record["met"].values()) else 1


def prepare(bundles: list[Path], folder: Path) -> tuple[Path, Path]:
    """Enlarge the golden images to camera size; write the ONNX Runtime INT8 model out for the loop."""
    images, model = folder / "images", folder / "model.onnx"
    images.mkdir()
    with edgetl_runtime.open(bundles[1]) as session:
        model.write_bytes(session.bundle.read(session.variant.files["model"]))
        for i, name in enumerate(session.manifest.golden.images):
            frame = cv2.imdecode(np.frombuffer(session.bundle.read(name), np.uint8), cv2.IMREAD_COLOR)
            frame = cv2.resize(frame, SIZE_PX, interpolation=cv2.INTER_LINEAR)
            cv2.imwrite(str(images / f"{i:02}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return images, model


def one_round(
    args: argparse.Namespace, names: list[str], pythons: dict[str, Path], images: Path, model: Path
) -> dict[str, Any]:
    """Run every peer once; one that fails says why."""
    found = {}
    for name in names:
        bundle = args.bundles[BUNDLES.index(name)] if name in BUNDLES else args.bundles[0]
        script = HERE / "peers" / f"{peers()[name]['script']}.py"
        command = [str(pythons[name]), str(script), str(model), str(args.run), str(bundle), str(images)]
        done = subprocess.run([*command, str(args.iterations)], capture_output=True, text=True, check=False)
        lines = done.stdout.strip().splitlines()
        if done.returncode == 0 and lines:
            found[name] = json.loads(lines[-1])
        else:
            found[name] = {"error": (done.stderr.strip().splitlines() or ["no answer"])[-1][:300]}
        sys.stderr.write(f"{name}: {statistics.median(found[name].get('samples_ms', [0])):.2f} ms\n")
    return found


def figures(name: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return percentiles, and how often a peer's classes agree with ours on the same images."""
    if "error" in rounds[0][name]:
        return {"error": rounds[0][name]["error"], **about(name)}
    samples = [ms for r in rounds for ms in r[name]["samples_ms"]]
    ours, theirs = (rounds[0].get(n, {}).get("classes", []) for n in (BUNDLES[0], name))
    same = peers()[name]["network"] == "same" and len(ours) == len(theirs)
    return {
        "p50_ms": percentile(samples, 50),
        "p99_ms": percentile(samples, 99),
        "n": len(samples),
        "agrees": sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(ours) if same and ours else None,
        "samples_ms": [round(ms, 4) for ms in samples],
        **about(name),
    }


def about(name: str) -> dict[str, Any]:
    peer = peers()[name]
    return {"network": peer["network"], "packages": peer["packages"], "packaged": peer["packaged"]}


def times(rounds: list[dict[str, Any]], ours: str, name: str) -> float | None:
    """Return how many times longer a peer takes: the median over rounds of the ratio of medians."""
    if "error" in rounds[0][name]:
        return None
    return statistics.median(
        statistics.median(r[name]["samples_ms"]) / statistics.median(r[ours]["samples_ms"]) for r in rounds
    )


def outside_share(bundle: Path) -> dict[str, float]:
    """Return what a 640x480 uint8 frame costs outside the network, as a share of the median decision."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (32, 24, 32, 3)).astype(np.uint8)
    frames = [cv2.resize(c, FRAME_PX, interpolation=cv2.INTER_LINEAR) for c in coarse]
    with edgetl_runtime.open(bundle) as session:
        decisions, until = [], time.monotonic() + 4
        while time.monotonic() < until:
            decisions += [session.predict(frame) for frame in frames]
    warm = decisions[len(decisions) // 4 :]
    total = statistics.median(d.timings_ms["total"] for d in warm)
    outside = statistics.median(d.timings_ms["total"] - d.timings_ms["infer"] for d in warm)
    return {"p50_ms": total, "outside_ms": outside, "share": outside / total, "n": len(warm)}


def met(record: dict[str, Any]) -> dict[str, bool]:
    """Hold the figures to the goals; a peer that could not be run is not met."""
    packaged = {name for name, peer in record["peers"].items() if peer["packaged"]}
    found = {"outside": record["outside_the_network"]["share"] <= GOALS["outside_share"]}
    for name, ratio in record["times"].items():
        goal = GOALS.get(name, GOALS["packaged"] if name in packaged else GOALS["others"])
        found[name] = ratio is not None and ratio >= goal
    return found


if __name__ == "__main__":
    sys.exit(main())
