"""How often a comparison is wrong, on a station made of a clock: `python benchmarks/error_rates.py`."""

from __future__ import annotations

import argparse
import collections
import gc
import json
import sys
import time
from typing import Any

from conditions import conditions, write_record

from edgetl_runtime.bench.compare import compare_rounds
from edgetl_runtime.bench.fake import NOISY, QUIET, FakeStation, Noise
from edgetl_runtime.schema import to_mapping

BASE_MS = 5.0
STATIONS = {"quiet": QUIET, "noisy": NOISY}
# slow-down of B → share that must be found; false alarms are counted on the first
GOALS = {0.0: None, 0.03: 0.75, 0.05: 0.95, 0.10: 0.99}
MAX_FALSE_ALARMS = 1
FIRST_SEED = 20_000  # of stations on which no number of the design was chosen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same", type=int, default=500, help="comparisons of a bundle with itself, per station")
    parser.add_argument("--slower", type=int, default=200, help="comparisons per station and slow-down")
    args = parser.parse_args()
    gc.freeze()  # the measuring loop collects garbage before every round; ours is none
    begin = time.monotonic()
    cells = [
        cell(name, noise, slower, args.slower if slower else args.same)
        for name, noise in STATIONS.items()
        for slower in GOALS
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


def cell(station: str, noise: Noise, slower: float, trials: int) -> dict[str, Any]:
    """Count the verdicts of one slow-down on one station."""
    verdicts: collections.Counter[str] = collections.Counter()
    pairs = 0
    for seed in range(FIRST_SEED, FIRST_SEED + trials):
        fake = FakeStation({"A": BASE_MS, "B": BASE_MS * (1 + slower)}, noise=noise, seed=seed)
        outcome = compare_rounds(fake.pair, seed=seed)
        verdicts[outcome.verdict] += 1
        pairs += len(outcome.differences["decision"])
    found = verdicts["REGRESSED"] / trials
    goal = GOALS[slower]
    return {
        "station": station,
        "slower": slower,
        "trials": trials,
        "verdicts": dict(verdicts),
        "found": found,
        "mean_pairs": pairs / trials,
        "met": verdicts["REGRESSED"] <= MAX_FALSE_ALARMS if goal is None else found >= goal,
    }


if __name__ == "__main__":
    sys.exit(main())
