"""Is the candidate that `deploy` chose the fastest that keeps the contract? `python benchmarks/choice.py RUN…`.

Every run is deployed for this machine as a user would. Then each of its other candidates is deployed alone into a
bundle of its own; one that misses the contract is refused, which is the expected answer. All bundles decide the same
encoded images through the runtime, in fresh processes, interleaved: the figures that chose are not those that judge.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from conditions import conditions, write_record

ROUNDS = 7
IMAGES = 24
TIMER = """
import json, sys, time
from pathlib import Path
import edgetl_runtime
encoded = [Path(name).read_bytes() for name in sys.argv[2:]]
with edgetl_runtime.open(sys.argv[1]) as session:
    for _ in range(2):
        for image in encoded:
            session.predict(image)
    times = []
    for _ in range(3):
        for image in encoded:
            started = time.perf_counter()
            session.predict(image)
            times.append(1e3 * (time.perf_counter() - started))
print(json.dumps(times))
"""
NOISE = 1.05  # two candidates closer than this are the same to the clock of a shared machine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="finished runs")
    args = parser.parse_args()
    record: dict[str, Any] = {"schema": "edgetl.bench.choice/1", "conditions": conditions(), "runs": {}}
    for run in args.runs:
        with tempfile.TemporaryDirectory() as temporary:
            record["runs"][run.resolve().parent.name] = judged(run, Path(temporary))
        record["load_after"] = os.getloadavg()[0]
        write_record("choice", record)
    return 0


def judged(run: Path, folder: Path) -> dict[str, Any]:
    """Deploy a run, time every candidate on its own, and say how far the chosen one is from the fastest."""
    first = deploy(run, folder / "chosen.edgetl", [])
    if first is None:
        return {"chosen": None}
    bundles = {first["chosen"]: folder / "chosen.edgetl"}
    refused = {}
    for candidate in first["candidates"]:
        if candidate["id"] == first["chosen"]:
            continue
        out = folder / f"{candidate['id']}.edgetl"
        if candidate["accepted"] and deploy(run, out, alone(candidate)) is not None:
            bundles[candidate["id"]] = out
        else:
            refused[candidate["id"]] = candidate["why"] or "misses the contract on test"
    samples = timed(bundles, images(run))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    fastest = min(medians, key=lambda name: medians[name])
    behind = medians[first["chosen"]] / medians[fastest]
    sys.stdout.write(f"{run}: {first['chosen']} {behind:.3f}x of {fastest}\n")
    return {
        "backbone": json.loads((run / "run.json").read_text(encoding="utf-8"))["backbone"],
        "chosen": first["chosen"],
        "fastest": fastest,
        "chosen_over_fastest": behind,
        "right": behind <= NOISE,
        "p50_ms": {name: round(value, 3) for name, value in sorted(medians.items(), key=lambda item: item[1])},
        "p99_ms_when_choosing": {c["id"]: (c["latency_ms"] or {}).get("p99") for c in first["candidates"]},
        "refused": refused,
        "note": first["note"],
    }


def alone(candidate: dict[str, Any]) -> list[str]:
    """Return the options that leave `deploy` no other choice."""
    threads = [] if candidate["threads"] is None else ["--threads", str(candidate["threads"])]
    return ["--backend", candidate["backend"], "--precision", candidate["precision"], *threads]


def deploy(run: Path, out: Path, options: list[str]) -> dict[str, Any] | None:
    """Deploy for this machine; None where the contract is missed."""
    command = [sys.executable, "-m", "edgetl", "deploy", str(run), "--target", "local", "--out", str(out), "--json"]
    command.append("--allow-disturbed")  # which one is taken then is what this benchmark judges
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        return None
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout))


def images(run: Path) -> list[str]:
    """Return paths of validation images of a run."""
    from edgetl.data.samples import spread
    from edgetl.data.split_file import read_split
    from edgetl.run import RunFolder

    folder = RunFolder(run)
    samples = read_split(folder.split_csv, folder.read().classes)
    return [str(s.path) for s in spread([s for s in samples if s.split == "val"], IMAGES)]


def timed(bundles: dict[str, Path], paths: list[str]) -> dict[str, list[float]]:
    """Return the time of every decision, in milliseconds; each round runs every bundle in a fresh process."""
    samples: dict[str, list[float]] = {name: [] for name in bundles}
    for at in range(ROUNDS):
        order = list(bundles) if at % 2 == 0 else list(reversed(bundles))
        for name in order:
            command = [sys.executable, "-c", TIMER, str(bundles[name]), *paths]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            samples[name] += json.loads(done.stdout)
    return samples


if __name__ == "__main__":
    sys.exit(main())
