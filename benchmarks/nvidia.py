"""Every backbone in float32, float16 and symmetric INT8 through NVIDIA's own compiler. `python benchmarks/nvidia.py`.

Weights are random and images small: what is shown is that the graphs are accepted, with their layers, the compiler's
seconds and the size of the engine. It compiles for a named GPU without having one; latency is not measured on hardware.
A backbone whose record exists is left out, so an interrupted table goes on where it stopped; --again starts anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conditions import conditions, record_path, write_record

from edgetl import backbones
from edgetl.backbones.build import build
from edgetl.errors import QuantizeError
from edgetl.export.onnx import export_onnx
from edgetl.nvidia import gate
from edgetl.quantize import recipe
from edgetl_runtime.errors import BackendError

RECIPES = ("float32", "tensorrt-f16", "tensorrt-int8")
CLASSES = 3
IMAGES = 8
SMALLEST_PX = 64


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="BACKBONE", help="default all of the catalogue")
    parser.add_argument("--again", action="store_true", help="drop what is recorded")
    args = parser.parse_args()
    path = record_path("nvidia")
    known = json.loads(path.read_text(encoding="utf-8"))["backbones"] if path.exists() and not args.again else {}
    for name in args.names or backbones.names():
        if name in known and not args.names:
            continue
        before = conditions()
        known[name] = table(name)
        write_record(
            "nvidia",
            {
                "schema": "edgetl.bench.nvidia/1",
                "command": "python benchmarks/nvidia.py",
                "note": f"random weights, {IMAGES} random images, smallest image size from {SMALLEST_PX} px on; "
                "SM86 stands in for Orin's SM87; latency not measured on hardware",
                "backbones": dict(sorted(known.items())),
                "conditions": before,
            },
        )
        for made in known[name]["recipes"]:
            words = (
                made.get("reason") or f"{made['layers']} layers, {made['seconds']} s, {made['plan_bytes'] / 1e6:.1f} MB"
            )
            sys.stdout.write(f"{name} {known[name]['image_px']} px {made['recipe']}: {words}\n")
        sys.stdout.flush()
    return 0


def table(name: str) -> dict[str, Any]:
    """Return what the gate says of one backbone by every recipe."""
    spec = backbones.get(name)
    torch.manual_seed(0)
    image_px = -(-max(spec.min_px, SMALLEST_PX) // spec.step_px) * spec.step_px
    network = build(spec, num_classes=CLASSES, weights=None, image_px=image_px).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(network, mean=spec.mean, std=spec.std, size_px=(image_px, image_px), path=path)
        model = path.read_bytes()
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, image_px, image_px, 3), np.uint8)
    return {"image_px": image_px, "recipes": [row(chosen, model, images) for chosen in RECIPES]}


def row(chosen: str, model: bytes, images: np.ndarray) -> dict[str, Any]:
    """Return what the gate says of one recipe's graph."""
    known = recipe.get(chosen)
    started = time.monotonic()
    try:
        made = recipe.apply(known, model, images if known.uses_images else None)
        checked = gate.check(made.model)
    except (QuantizeError, BackendError) as error:
        return {"recipe": chosen, "accepted": False, "reason": error.sentence}
    return {
        "recipe": chosen,
        "precision": known.file.precision,
        **checked.to_mapping(),
        "layers_left_float": len(made.layers_left_float),
        "of_layers": made.layers,
        "total_s": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
