"""Fine-tune by a suite and record accuracy, time and conditions: `python benchmarks/accuracy.py SUITE…`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from conditions import conditions, record_path, write_record

from edgetl.data.elpv import write_elpv_csv

HERE = Path(__file__).parent
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "escapes", "overkill", "n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="+", metavar="SUITE", help="name of a file in suites/, without .toml")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the runs here")
    parser.add_argument("--seeds", nargs="+", type=int, help="only these seeds; others recorded before stay")
    args = parser.parse_args()
    for name in args.suites:
        suite = tomllib.loads((HERE / "suites" / f"{name}.toml").read_text(encoding="utf-8"))
        missing = absent(suite)
        if missing:
            sys.stdout.write(f"{name}: skipped, {missing} is absent (set EDGETL_DATA)\n")
            continue
        with tempfile.TemporaryDirectory() as temporary:
            known = recorded(name, suite) if args.seeds else []
            run_suite(name, suite, args.seeds or suite["seeds"], known, (args.keep or Path(temporary)).resolve())
    return 0


def absent(suite: dict[str, Any]) -> str | None:
    """Return the data or weights of a suite that are not on this machine."""
    named = [suite["data"]] if suite["data"] != "elpv" else []
    named += [suite["weights"]] if "weights" in suite else []
    return next((name for name in named if not located(name).exists()), None)


def located(name: str) -> Path:
    return Path(os.environ.get("EDGETL_DATA", "data")) / name


def recorded(name: str, suite: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the runs of the last record of a suite, if they had the same options."""
    path = record_path(name)
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = record.get("options") == suite.get("options", [])
    return list(record["runs"]) if same else []


def run_suite(name: str, suite: dict[str, Any], seeds: list[int], known: list[dict[str, Any]], folder: Path) -> None:
    """Run the seeds of a suite; after each one, write the record with what is there."""
    runs = [r for r in known if r["seed"] not in seeds]
    for seed in seeds:
        runs = sorted([*runs, run_seed(name, suite, seed, folder)], key=lambda r: r["seed"])
        record = {
            "schema": "edgetl.bench.accuracy/1",
            "suite": name,
            "options": suite.get("options", []),
            "seeds_of_the_suite": suite["seeds"],
            "summary": summary(suite, runs),
            "runs": runs,
        }
        write_record(name, record)
        sys.stdout.write(f"{name} seed {seed}: {json.dumps(record['summary'])}\n")
        sys.stdout.flush()


def run_seed(name: str, suite: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Fine-tune once in a child process with an empty feature cache."""
    before = conditions()
    out = folder / f"{name}-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    data = write_elpv_csv(out, seed=seed) if suite["data"] == "elpv" else located(suite["data"])
    options = [*suite.get("options", []), "--seed", str(seed), "--force", "--json"]
    if "weights" in suite:
        options += ["--weights", str(located(suite["weights"]))]
    command = [sys.executable, "-m", "edgetl", "finetune", str(data), "--out", str(out / "run"), *options]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "EDGETL_CACHE": cache}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} seed {seed}: exit {done.returncode}\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    metrics = {part: {key: result[part][key] for key in METRICS} for part in ("test", "baseline_test", "val")}
    measured = {"seconds": result["seconds"], "conditions": before, "load_after": os.getloadavg()[0]}
    return {"seed": seed, "kept": result["kept"], **metrics, **measured}


def summary(suite: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Hold the means over the seeds against the suite's goals."""
    means = {f"test_{key}": statistics.mean(r["test"][key] for r in runs) for key in METRICS}
    means["seconds"] = statistics.mean(r["seconds"]["total"] for r in runs)
    return {
        goal: {"goal": bound, "mean": means[goal], "met": meets(goal, means[goal], bound)}
        for goal, bound in suite["goals"].items()
    }


def meets(goal: str, value: float, bound: float) -> bool:
    return value <= bound if goal == "seconds" else value >= bound


if __name__ == "__main__":
    sys.exit(main())
