"""The gate on this machine with real models: `python benchmarks/regression_gate.py BUNDLE… [--same 20 --slowed 10]`.

A bundle against itself must end PASS, and the same bundle slowed by 10 % must be found, in pairs of fresh processes
that take turns.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import time
from pathlib import Path
from typing import Any

from conditions import conditions, write_record

from edgetl_runtime.bench import measuring
from edgetl_runtime.bench.rounds import TURNS, Settings, target
from edgetl_runtime.bench.statistics import Design
from edgetl_runtime.errors import UnfitError

SLOWED_PCT = 10.0
GOALS = {"same_pass_share": 0.9, "same_regressed": 0, "slowed_found_share": 1.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE", help="compared in turn")
    parser.add_argument("--same", type=int, default=20, help="comparisons of a bundle with itself")
    parser.add_argument("--slowed", type=int, default=10, help="comparisons with itself slowed by 10 %%")
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="finished comparisons; those in it are not repeated"
    )
    parser.add_argument("--allow-disturbed", action="store_true", help="for a trial of the script; nothing is recorded")
    args = parser.parse_args()
    settings = Settings(
        iterations=args.iterations,
        seconds=args.seconds,
        warmup_s=1.0,
        network=False,
        allow_disturbed=args.allow_disturbed,
    )
    before = conditions()
    counts = {0.0: args.same, SLOWED_PCT: args.slowed}
    # both kinds over the whole time, so that one that is broken off says something of both
    planned = sorted(((s, i) for s, n in counts.items() for i in range(n)), key=lambda one: one[1] / counts[one[0]])
    runs = kept(args.journal)
    for slower, i in planned[len(runs) :]:
        runs.append(one(args.bundles[i % len(args.bundles)], slower, settings, seed=i))
        if args.journal is not None:
            with args.journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(runs[-1]) + "\n")
    same = collections.Counter(r["verdict"] for r in runs if not r["slower_pct"])
    slowed = collections.Counter(r["verdict"] for r in runs if r["slower_pct"])
    record = {
        "schema": "edgetl.bench.regression_gate/1",
        "same": dict(same),
        "slowed": dict(slowed),
        "slowed_pct": SLOWED_PCT,
        "comparisons": runs,
        "protocol": f"pairs of processes in {TURNS} turns, {args.iterations} decisions and {args.seconds} s each",
        "goals": GOALS,
        "met": {
            "same": same["PASS"] >= GOALS["same_pass_share"] * args.same and same["REGRESSED"] == 0,
            "slowed": slowed["REGRESSED"] == args.slowed,
        },
        "seconds": round(sum(r["seconds"] for r in runs)),
        "conditions": before,
        "load_after": conditions()["load"],
    }
    sys.stdout.write(json.dumps({k: record[k] for k in ("same", "slowed", "met", "seconds")}, indent=1) + "\n")
    if not args.allow_disturbed:
        write_record("regression-gate", record)
    return 0 if all(record["met"].values()) else 1


def kept(journal: Path | None) -> list[dict[str, Any]]:
    """Return the comparisons that an interrupted call has finished, in their order."""
    if journal is None or not journal.is_file():
        return []
    return [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]


def one(bundle: Path, slower_pct: float, settings: Settings, *, seed: int) -> dict[str, Any]:
    """Compare a bundle with itself, slowed or not."""
    a, b = target(bundle), target(bundle, slower_pct=slower_pct)
    begin = time.monotonic()
    found: dict[str, Any] = {"bundle": a.facts.variant, "slower_pct": slower_pct}
    try:
        outcome = measuring.compare(a, b, design=Design(), settings=settings, seed=seed)
    except UnfitError as error:
        found |= {"verdict": "UNFIT", "why": error.sentence}
    else:
        judgement = outcome.metrics["decision"]
        found |= {
            "verdict": outcome.verdict,
            "pairs": judgement.n,
            "estimate": judgement.estimate,
            "bounds": [judgement.lower, judgement.upper],
            "p50_ms": outcome.a.summary["decision_ms"]["p50"],
            "disturbed": len(outcome.a.discarded) + len(outcome.b.discarded),
        }
    found["seconds"] = round(time.monotonic() - begin, 1)
    sys.stderr.write(json.dumps(found) + "\n")
    return found


if __name__ == "__main__":
    sys.exit(main())
