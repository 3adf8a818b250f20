"""What every backbone must do on NVIDIA: its float32, float16 and symmetric INT8 graphs pass NVIDIA's own compiler.

`make test` compiles those that `conftest.py` names, `make test-catalogue` (EDGETL_CATALOGUE=1) all of them. No GPU is
needed; images are small and weights random: the graphs are proven, accuracy and latency are measured elsewhere.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgetl import backbones
from edgetl.nvidia import gate
from edgetl.quantize import recipe

RECIPES = ("float32", "tensorrt-f16", "tensorrt-int8")

pytestmark = pytest.mark.skipif(gate.missing() is not None, reason=f"NVIDIA's compiler: {gate.missing()}")


@pytest.mark.parametrize("name", backbones.names())
def test_backbone_compiles_for_nvidia(name, exported):
    made = exported(name)
    model = made.path.read_bytes()
    images = np.random.default_rng(0).integers(0, 256, (2, made.image_px, made.image_px, 3), np.uint8)
    for chosen in RECIPES:
        known = recipe.get(chosen)
        if known.uses_images:  # the form is checked, not the accuracy
            known = dataclasses.replace(known, parameters=dataclasses.replace(known.parameters, bias_correction="none"))
        quantized = recipe.apply(known, model, images if known.uses_images else None)
        checked = gate.check(quantized.model)
        assert checked.accepted, (chosen, checked.reason)
        assert checked.findings == ()
        assert checked.layers > 20
        if known.file.precision == "int8":
            assert len(quantized.layers_left_float) < quantized.layers / 2, quantized.layers_left_float
