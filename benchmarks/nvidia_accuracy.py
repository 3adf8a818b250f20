"""Accuracy of the graphs for TensorRT against float, by ONNX Runtime: `python benchmarks/nvidia_accuracy.py NAME=RUN`.

The arithmetic is that of the graph; engines on a GPU round in another order, so this is not a figure of a board. Every
recipe of the first rung is made from the run's own calibration images, evaluated on test, and held against NVIDIA's
compiler. Runs are kept one by one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from conditions import conditions, record_path, write_record

from edgetl import tasks
from edgetl.data.images import load_images
from edgetl.data.split_file import read_split
from edgetl.deploy import candidates as room
from edgetl.export.run_export import export_run
from edgetl.nvidia import gate
from edgetl.quantize import recipe as recipes
from edgetl.quantize.calibration import select
from edgetl.run import RunFolder
from edgetl_runtime.backends.base import LoadOptions

GOAL_PP = 0.5
FLOAT = LoadOptions(precision="f32", threads=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN", help="what the record is called, and a finished run")
    args = parser.parse_args()
    path = record_path("nvidia-accuracy")
    known = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else {}
    for words in args.runs:
        name, _, run = words.partition("=")
        before = conditions()
        known[name] = evaluate(Path(run)) | {"conditions": before}
        write_record(
            "nvidia-accuracy",
            {
                "schema": "edgetl.bench.nvidia-accuracy/1",
                "command": "python benchmarks/nvidia_accuracy.py NAME=RUN",
                "note": "computed by ONNX Runtime on test; accuracy and latency not measured on hardware",
                "goal_pp": GOAL_PP,
                "runs": dict(sorted(known.items())),
            },
        )
        for row in known[name]["recipes"]:
            met = "met" if row["drop_pp"] <= GOAL_PP else "missed"
            sys.stdout.write(
                f"{name} {row['recipe']}: {row['accuracy']:.4f} (float {known[name]['float_accuracy']:.4f}, n "
                f"{known[name]['n']}), drop {row['drop_pp']:.2f} pp, flips {row['flips']}: {met}; {row['compiler']}\n"
            )
        sys.stdout.flush()
    return 0


def evaluate(path: Path) -> dict[str, Any]:
    """Return accuracy and flips on test of every recipe for TensorRT."""
    folder = RunFolder(path)
    run = folder.read()
    samples = read_split(folder.split_csv, run.classes)
    splits = {name: [s for s in samples if s.split == name] for name in ("train", "test")}
    images = {name: load_images(found, run.preprocess) for name, found in splits.items()}
    labels = {name: np.array([s.label for s in found], np.int64) for name, found in splits.items()}
    model = export_run(folder, run).model
    calibration = select(images["train"], labels["train"], seed=run.config["seed"])
    truth = labels["test"]
    expected = room.outputs_of("onnxruntime", model, FLOAT, images["test"])["logits"]
    task = tasks.get(run.task)
    right = float((expected.argmax(axis=1) == truth).mean())
    decided = task.decided({"logits": expected}, truth, run.labels, run.params)
    rows = []
    for recipe in (r for r in recipes.for_backend("tensorrt") if r.file.rung == 0 and r.file.precision != "f32"):
        made, _ = room.make_model(recipe, model, calibration, folder.path / "quantized")
        logits = room.outputs_of("onnxruntime", made, FLOAT, images["test"])["logits"]
        accuracy = float((logits.argmax(axis=1) == truth).mean())
        changed = decided.flips(task.decided({"logits": logits}, truth, run.labels, run.params))
        rows.append(
            {
                "recipe": recipe.name,
                "accuracy": accuracy,
                "drop_pp": 100 * (right - accuracy),
                "flips": int(changed.sum()),
                "largest_logit_difference": float(np.abs(logits - expected).max()),
                "compiler": gate.check(made).words,
            }
        )
    return {
        "backbone": run.backbone,
        "n": len(truth),
        "float_accuracy": right,
        "calibration_images": len(calibration.images),
        "recipes": rows,
    }


if __name__ == "__main__":
    sys.exit(main())
