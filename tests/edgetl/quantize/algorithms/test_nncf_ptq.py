from __future__ import annotations

import os

import numpy as np
import openvino
import pytest

from edgetl.quantize import graph
from edgetl.quantize.algorithms import nncf_ptq

NORMALISATION = ("cast", "transpose", "sub", "mul")


def run(model: bytes, images: np.ndarray) -> np.ndarray:
    core = openvino.Core()
    return np.array(core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([images])[0])


@pytest.mark.parametrize(
    "parameters",
    [
        {"preset": "mixed", "overflow_fix": "disable", "bias_correction": "none"},
        {"ranges": "default", "bias_correction": "fast"},
        {"ranges": "histogram", "bias_correction": "full", "overflow_fix": "enable"},
    ],
    ids=["mixed", "defaults", "full"],
)
def test_quantize_stays_near_float_with_every_choice(parameters, conv_net, conv_net_images):
    made = nncf_ptq.quantize(
        conv_net, conv_net_images[:16], parameters=nncf_ptq.Parameters(**parameters), exclude=NORMALISATION
    )
    expected, got = run(conv_net, conv_net_images), run(made, conv_net_images)
    assert np.corrcoef(expected.ravel(), got.ravel())[0, 1] > 0.99
    assert graph.layers_left_float(graph.load(made)) == ()


def test_quantize_leaves_the_environment_as_it_was(conv_net, conv_net_images):
    before = dict(os.environ)
    nncf_ptq.quantize(conv_net, conv_net_images[:2], parameters=nncf_ptq.Parameters(), exclude=NORMALISATION)
    assert dict(os.environ) == before
