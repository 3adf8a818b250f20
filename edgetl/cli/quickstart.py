"""`edgetl quickstart`: the whole way once, on real images and real weights."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgetl
from edgetl import tasks
from edgetl.files import contents, taken
from edgetl_runtime.errors import EdgetlError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgetl.tasks.base import Count

IMAGES = 900
LEAST_IMAGES = 60
TARGETS = ("local", "jetson")
PREDICTED = 5
ROUNDS = 3
ROUND_ITERATIONS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("quickstart"), metavar="DIR", help="default quickstart")
    parser.add_argument("--images", type=int, default=IMAGES, metavar="N", help="solar cells to use, 0 for all 2,624")
    parser.add_argument("--preset", default="quick", help="of 'edgetl finetune'; default quick")
    parser.add_argument("--image-size", type=int, metavar="PX", help="smaller is faster and less accurate; default 224")
    parser.add_argument("--force", action="store_true", help="replace an earlier quick start")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune, deploy to this machine and to a Jetson, predict with the runtime alone, time it against torch."""
    if args.images and args.images < LEAST_IMAGES:
        must = f"0 for all, or at least {LEAST_IMAGES}"
        raise UsageError("--images", must, str(args.images), fix=f"--images {IMAGES}")
    with taken(args.out, "edgetl quickstart"):
        if contents(args.out) and not args.force:
            raise UsageError(f"--out {args.out}", "a new folder", "an existing one", fix="--force to replace it")
        return _go(args.out, args)


def _go(out: Path, args: argparse.Namespace) -> dict[str, Any]:
    from edgetl.data.elpv import LICENCE, write_elpv_csv

    started = time.monotonic()
    data = write_elpv_csv(out, seed=0, limit=args.images or None)
    tuned = edgetl.finetune(
        data, out=out / "run", preset=args.preset, image_size=args.image_size, data_licence=LICENCE, force=True
    )
    deployed = [_deploy(tuned, out, target) for target in TARGETS]
    return {
        "schema": "edgetl.quickstart/1",
        "finetune": tuned.to_mapping(),
        "deploy": [each.to_mapping() for each in deployed],
        "predict": _predict(deployed[0].bundle, data),
        "latency_ms": _race(tuned.path, deployed[0].bundle),
        "report": str(tuned.report),
        "seconds": time.monotonic() - started,
    }


def _deploy(run: edgetl.TrainedRun, out: Path, target: str) -> edgetl.Deployed:
    """Deploy with the first rung of INT8 alone, for time's sake, and whatever else the machine does meanwhile."""
    return edgetl.deploy(
        run,
        target=target,
        out=out / f"{target}.edgetl",
        line="quickstart",
        rungs=1,
        allow_disturbed=True,
        force=True,
    )


def _predict(bundle: Path, data: Path) -> dict[str, Any]:
    """Decide on some test images in a fresh process that has only the runtime."""
    import csv

    from edgetl.deploy import isolation

    with data.open(newline="", encoding="utf-8") as file:
        images = [row["path"] for row in csv.DictReader(file) if row["split"] == "test"][:PREDICTED]
    paths = [str(Path(path).absolute()) for path in (bundle, *images)]
    done = isolation.run("predict", *paths, "--json")
    if done.returncode != 0:
        got, fix = done.stderr.strip()[-200:], f"edgetl-runtime predict {bundle} {images[0]}"
        raise EdgetlError("prediction by the runtime alone", "possible", got, fix=fix)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _race(run_folder: Path, bundle: Path) -> dict[str, dict[str, float | None]]:
    """Time encoded image to decision: the bundle against PIL + torchvision + eager torch, in interleaved rounds."""
    import edgetl_runtime
    from edgetl.deploy.yardstick import eager_predictor
    from edgetl.run import RunFolder
    from edgetl_runtime.measure import measure_latency, percentile

    folder = RunFolder(run_folder)
    with edgetl_runtime.open(bundle) as session:
        manifest = session.manifest
        encoded = [session.bundle.read(name) for name in manifest.golden.images]
        contestants = {"bundle": session.predict, "eager_torch": eager_predictor(folder, folder.read())}
        samples: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(ROUNDS):
            for name, call in contestants.items():
                record = measure_latency(call, encoded, min_iterations=ROUND_ITERATIONS, max_warmup_seconds=1.0)
                samples[name] += record.samples_ms
    return {name: {"p50": percentile(ms, 50), "p99": percentile(ms, 99), "n": len(ms)} for name, ms in samples.items()}


def show(result: Mapping[str, Any]) -> str:
    """Return the short table."""
    local, jetson = result["deploy"]
    test, race = local["confirmed"], result["latency_ms"]
    by_id = {c["id"]: c for c in local["candidates"]}
    lines = [
        f"{'':34}{'float':>10}{'shipped':>10}",
        f"{'accuracy on test (n = ' + str(test['n']) + ')':34}{test['float_accuracy']:>10.4f}{test['accuracy']:>10.4f}",
        *(_counted(test, count) for count in tasks.get(local["task"]).counts),
        f"{'flips':34}{'':>10}{test['flips']:>10}",
        "",
        f"{'encoded image to decision':34}{'p50 ms':>10}{'p99 ms':>10}",
        f"{'  PIL + torchvision + eager torch':34}{_ms(race['eager_torch'])}",
        f"{'  bundle, ' + local['chosen']:34}{_ms(race['bundle'])}",
        f"{'  on a Jetson':34}{'not measured on hardware':>24}",
        "",
        *(_shipped(d) for d in (local, jetson)),
        f"model of {by_id[local['chosen']]['size_bytes'] / 1e6:.1f} MB; {'; '.join(test['statements'])}",
        f"frozen baseline on test: {result['finetune']['baseline_test']['accuracy']:.4f}; report: {result['report']}",
        f"{result['seconds']:.0f} s in all. Images: elpv, CC BY-NC-SA 4.0, not for commercial use.",
    ]
    return "\n".join(lines)


def _counted(test: Mapping[str, Any], count: Count) -> str:
    title = f"{count.key} of {test[count.of]}"
    return f"{title:34}{test[f'float_{count.key}']:>10}{test[count.key]:>10}"


def _ms(figures: Mapping[str, float | None]) -> str:
    return "".join(f"{figures[k]:>10.2f}" if figures[k] is not None else f"{'-':>10}" for k in ("p50", "p99"))


def _shipped(deployed: Mapping[str, Any]) -> str:
    size_mb = deployed["size_bytes"] / 1e6
    return f"{deployed['bundle']}: {size_mb:.1f} MB, {deployed['target']}, {deployed['chosen']}; {deployed['note']}"
