"""What every backbone must do on NVIDIA: its float32, float16 and symmetric INT8 graphs pass NVIDIA's own compiler.

`make test` compiles those in COMPILED_ALWAYS, `make test-catalogue` (EDGETL_CATALOGUE=1) all of them. No GPU is needed;
images are small and weights random: the graphs are proven, accuracy and latency are measured elsewhere.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import torch

from edgetl import backbones
from edgetl.backbones.build import build
from edgetl.export.onnx import export_onnx
from edgetl.nvidia import gate
from edgetl.quantize import recipe

COMPILED_ALWAYS = ("mobilenetv4_conv_small", "resnet18", "mobilenetv3_small_100")
RECIPES = ("float32", "tensorrt-f16", "tensorrt-int8")

pytestmark = pytest.mark.skipif(gate.missing() is not None, reason=f"NVIDIA's compiler: {gate.missing()}")


def exported(spec, image_px, path):
    torch.manual_seed(0)
    network = build(spec, num_classes=3, weights=None, image_px=image_px).eval()
    export_onnx(network, mean=spec.mean, std=spec.std, size_px=(image_px, image_px), path=path)
    return path.read_bytes()


@pytest.mark.parametrize("name", backbones.names())
def test_backbone_compiles_for_nvidia(name, tmp_path):
    if name not in COMPILED_ALWAYS and not os.environ.get("EDGETL_CATALOGUE"):
        pytest.skip("compiled by make test-catalogue")
    spec = backbones.get(name)
    image_px = -(-max(spec.min_px, 64) // spec.step_px) * spec.step_px
    model = exported(spec, image_px, tmp_path / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, image_px, image_px, 3), np.uint8)
    for chosen in RECIPES:
        known = recipe.get(chosen)
        if known.uses_images:  # the form is checked, not the accuracy
            known = dataclasses.replace(known, parameters=dataclasses.replace(known.parameters, bias_correction="none"))
        made = recipe.apply(known, model, images if known.uses_images else None)
        checked = gate.check(made.model)
        assert checked.accepted, (chosen, checked.reason)
        assert checked.findings == ()
        assert checked.layers > 20
        if known.file.precision == "int8":
            assert len(made.layers_left_float) < made.layers / 2, made.layers_left_float
