"""Decision latency of two checkouts of the runtime: the ratio of their medians, from one interleaved run.

    git worktree add ../before v0.1.0
    python benchmarks/checkouts.py ../before . part.edgetl --data images/

A pair is two live processes, each with the runtime of one checkout, that time turns of a tenth of a second, ABBA. The
environment is the same for both; only where `edgetl_runtime` is imported from differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conditions import conditions, write_record

from edgetl_runtime.bench.compare import difference
from edgetl_runtime.bench.exclusion import measuring_alone
from edgetl_runtime.bench.record import Round
from edgetl_runtime.bench.statistics import bounds, hodges_lehmann
from edgetl_runtime.image_files import images_below

if TYPE_CHECKING:
    from collections.abc import Iterator

GOAL = 1.03
ERROR = 0.025  # of each bound of the interval
TURNS, TURN_S, MOST_REPEATED = 10, 0.1, 0.5
METRICS = ("decision", "network")
START = """
import sys
sys.path.insert(0, sys.argv[1])
from edgetl_runtime.bench import worker
sys.exit(worker.main() if worker.__file__.startswith(sys.argv[1]) else "another runtime was imported")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another one")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, help="folder of images; default are the bundle's golden images")
    parser.add_argument("--variant")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--before-bundle", type=Path, help="the same models as the first checkout reads them")
    parser.add_argument("--record", default="checkouts", help="name of the record")
    parser.add_argument("--trial", action="store_true", help="count disturbed rounds, record nothing")
    args = parser.parse_args()
    began = conditions()
    older = args.before_bundle or args.bundle
    if models(older) != models(args.bundle):
        parser.error("the two bundles hold different models: deploy the same run with both checkouts")
    with measuring_alone():
        pairs, repeated = take(args, {"A": (args.before, older), "B": (args.after, args.bundle)})
    record = {
        "schema": "edgetl.bench.checkouts/1",
        "before": commit_of(args.before),
        "after": commit_of(args.after),
        "variant": args.variant or "the chosen one",
        "pairs": len(pairs),
        "repeated": repeated,
        **{name: judged(pairs, name) for name in METRICS},
        "goal": GOAL,
        "conditions": began,
        "load_after": conditions()["load"],
    }
    record["met"] = record["decision"]["interval"][1] <= GOAL
    sys.stdout.write(json.dumps(record, indent=1) + "\n")
    if not args.trial:
        write_record(args.record, record)
    return 0 if record["met"] else 1


def take(args: argparse.Namespace, sides: dict[str, tuple[Path, Path]]) -> tuple[list[tuple[Round, Round]], int]:
    """Return pairs of undisturbed rounds, and how many pairs were repeated."""
    images = [str(path.resolve()) for path in images_below(args.data)[:32]] if args.data else []
    job = {
        "kind": "round", "variant": args.variant, "images": images, "turns": TURNS, "iterations": TURNS,
        "seconds": TURNS * TURN_S, "warmup_s": 2.0,
    }  # fmt: skip
    found: list[tuple[Round, Round]] = []
    repeated = 0
    while len(found) < args.pairs:
        one, other = pair("AB" if len(found) % 2 else "BA", sides, job)
        if (one.disturbed or other.disturbed) and not args.trial:
            repeated += 1
            if repeated > 4 + MOST_REPEATED * args.pairs:
                raise SystemExit(f"the machine is not quiet: {', '.join({*one.disturbed, *other.disturbed})}")
            continue
        found.append((one, other))
    return found, repeated


def pair(order: str, sides: dict[str, tuple[Path, Path]], job: dict[str, Any]) -> tuple[Round, Round]:
    """Start both in this order, let them take turns, and return the rounds of A and B."""
    with contextlib.ExitStack() as stack:
        workers = {side: stack.enter_context(started(*sides[side], job)) for side in order}
        turns = [*order, *order[::-1]] * (TURNS // 2)
        for turn in turns:
            beside = next(worker.pid for side, worker in workers.items() if side != turn)
            said(workers[turn], f"go {beside}", until="timed")
        answers = {side: json.loads(said(worker, "go")) for side, worker in workers.items()}
    one, other = (
        Round(
            side=side, index=0, steady=True, disturbed=tuple(answers[side]["disturbed"]),
            **{name: tuple(answers[side][name]) for name in ("decision_ms", "network_ms", "turns", "network_turns")},
        )
        for side in "AB"
    )  # fmt: skip
    return one, other


@contextlib.contextmanager
def started(checkout: Path, bundle: Path, job: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Start a round with the runtime of a checkout, until it is warm."""
    command = [sys.executable, "-c", START, str(checkout.resolve() / "runtimes")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        try:
            said(worker, json.dumps({**job, "bundle": str(bundle.resolve())}), until="ready")
            yield worker
        finally:
            worker.kill()


def said(worker: subprocess.Popen[str], line: str, *, until: str = "") -> str:
    """Say a line to a worker and return its answer.

    Raises:
        SystemExit: It is not the word that is waited for, or an error.
    """
    talk: Any = (worker.stdin, worker.stdout)  # both are pipes
    talk[0].write(line + "\n")
    talk[0].flush()
    answer = talk[1].readline().strip()
    if (until and answer != until) or not answer or '"error"' in answer[:20]:
        raise SystemExit(f"a worker did not answer: {answer or worker.wait()}")
    return answer


def judged(pairs: list[tuple[Round, Round]], name: str) -> dict[str, Any]:
    """Return medians of both, the ratio after / before, and its interval of 95 %."""
    differences = [difference(one, other, name) for one, other in pairs]
    return {
        "p50_ms": [statistics.median(r.metric(name) for r in side) for side in zip(*pairs, strict=True)],
        "ratio": math.exp(hodges_lehmann(differences)),
        "interval": [math.exp(bound) for bound in bounds(differences, ERROR)],
        "ratios": [math.exp(value) for value in differences],
    }


def models(bundle: Path) -> dict[str, bytes]:
    """Return the models of a bundle, however its manifest is written."""
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.startswith("models/")}


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout, and whether it was altered."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
