"""How often a comparison is wrong, on a station made of a clock: `python benchmarks/error_rates.py`."""

from __future__ import annotations

import argparse
import collections
import functools
import json
import multiprocessing
import os
import sys
import time
from typing import Any

from conditions import conditions, write_record

from edgetl_runtime.bench.compare import compare_rounds
from edgetl_runtime.bench.harness import NOISY, QUIET, REMEMBERING, Harness
from edgetl_runtime.schema import to_mapping

BASE_MS = 5.0
STATIONS = {"quiet": QUIET, "noisy": NOISY, "remembering": REMEMBERING}
# slow-down of B → share that must be found; false alarms are counted on the first
GOALS = {0.0: None, 0.03: 0.75, 0.05: 0.95, 0.10: 0.99}
# where neighbouring pairs resemble each other, to be inconclusive is an honest answer: nothing must be found
FOUND_ON = ("quiet", "noisy")
MAX_FALSE_ALARMS = 1
FIRST_SEED = 20_000  # of stations on which no number of the design was chosen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same", type=int, default=500, help="comparisons of a bundle with itself, per station")
    parser.add_argument("--slower", type=int, default=200, help="comparisons per station and slow-down")
    args = parser.parse_args()
    begin = time.monotonic()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        cells = [
            cell(name, slower, pool.map(functools.partial(one, name, slower), seeds(args, slower)))
            for name in STATIONS
            for slower in GOALS
            if slower in (0.0, max(GOALS)) or name in FOUND_ON
        ]
    record = {
        "schema": "edgetl.bench.error_rates/1",
        "what": "verdicts on a programmable fake station; nothing here is a latency",
        "stations": {name: to_mapping(noise) for name, noise in STATIONS.items()},
        "cells": cells,
        "goals": {"false_alarms_of_500": MAX_FALSE_ALARMS, "found": {f"{s:g}": g for s, g in GOALS.items() if g}},
        "met": all(c["met"] for c in cells),
        "seconds": round(time.monotonic() - begin),
        "conditions": conditions(),
    }
    sys.stdout.write(json.dumps(record["cells"], indent=1) + "\n")
    if (args.same, args.slower) == (500, 200):
        write_record("error-rates", record)
    return 0 if record["met"] else 1


def seeds(args: argparse.Namespace, slower: float) -> range:
    """Return the seeds of the stations of one cell."""
    return range(FIRST_SEED, FIRST_SEED + (args.slower if slower else args.same))


def one(station: str, slower: float, seed: int) -> tuple[str, int]:
    """Return verdict and pairs of one comparison."""
    fake = Harness({"A": BASE_MS, "B": BASE_MS * (1 + slower)}, noise=STATIONS[station], seed=seed)
    outcome = compare_rounds(fake.pair, seed=seed)
    return outcome.verdict, len(outcome.differences["decision"])


def cell(station: str, slower: float, outcomes: list[tuple[str, int]]) -> dict[str, Any]:
    """Count the verdicts of one slow-down on one station."""
    verdicts = collections.Counter(verdict for verdict, _ in outcomes)
    trials, found, goal = len(outcomes), verdicts["REGRESSED"] / len(outcomes), GOALS[slower]
    must_find = goal is not None and station in FOUND_ON
    return {
        "station": station,
        "slower": slower,
        "trials": trials,
        "verdicts": dict(verdicts),
        "found": found,
        "mean_pairs": sum(pairs for _, pairs in outcomes) / trials,
        "met": found >= goal if must_find else slower > 0 or verdicts["REGRESSED"] <= MAX_FALSE_ALARMS,
    }


if __name__ == "__main__":
    sys.exit(main())
