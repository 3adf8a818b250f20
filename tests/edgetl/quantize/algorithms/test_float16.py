from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from edgetl.errors import QuantizeError
from edgetl.quantize import graph
from edgetl.quantize.algorithms import float16

NORMALISATION = ("cast", "transpose", "sub", "mul")


def with_weight(model: bytes, value: float) -> bytes:
    proto = graph.load(model)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "head_w")
    weights = numpy_helper.to_array(tensor).copy()
    weights[0, 0] = value
    tensor.CopyFrom(numpy_helper.from_array(weights, "head_w"))
    return proto.SerializeToString()


def convert(model: bytes) -> bytes:
    return float16.quantize(model, None, parameters=float16.Parameters(), exclude=NORMALISATION)


def test_quantize_holds_layers_in_float16_and_the_normalisation_in_float32(conv_net):
    constants = graph.initializers(graph.load(convert(conv_net)))
    assert {name: str(value.dtype) for name, value in constants.items() if name != "zero"} == {
        "mean": "float32",
        "scale": "float32",
        "six": "float16",
        **{f"{layer}_{part}": "float16" for layer in ("stem", "depthwise", "project", "head") for part in "wb"},
    }


def test_quantize_casts_only_behind_the_normalisation_and_before_the_output(conv_net):
    operators = [node.op_type for node in graph.load(convert(conv_net)).graph.node]
    assert operators[:6] == ["Cast", "Transpose", "Sub", "Mul", "Cast", "Conv"]
    assert operators.count("Cast") == 3
    assert operators[-1] == "Cast"


@pytest.mark.parametrize("value", [1e5, float("nan"), float("inf")])
def test_quantize_refuses_a_weight_float16_cannot_hold(conv_net, value):
    with pytest.raises(QuantizeError, match="weight 'head_w' must be at most 65504 for float16"):
        convert(with_weight(conv_net, value))


def test_quantize_takes_a_weight_below_the_smallest_float16(conv_net):
    weights = graph.initializers(graph.load(convert(with_weight(conv_net, 1e-12))))["head_w"]
    assert 0 <= weights[0, 0] < np.float16(1e-6)
