"""Every rule on a graph that keeps it and on one that breaks it alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.nvidia import rules
from edgetl.quantize import graph, recipe


@pytest.fixture(scope="module")
def symmetric(conv_net, conv_net_images):
    return recipe.apply(recipe.get("tensorrt-int8"), conv_net, conv_net_images[:8]).model


@pytest.fixture
def model(symmetric):
    return graph.load(symmetric)


def broken(model):
    return sorted({finding.rule for finding in rules.check(model)})


def replace(model, name, value):
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def first(model, operator, *, weight=False):
    constants = graph.constant_names(model)
    return next(n for n in model.graph.node if n.op_type == operator and (n.input[0] in constants) == weight)


@pytest.mark.parametrize("name", ["float32", "tensorrt-f16", "tensorrt-int8"])
def test_our_own_recipes_for_tensorrt_keep_every_rule(name, conv_net, conv_net_images):
    made = recipe.apply(recipe.get(name), conv_net, conv_net_images[:8])
    assert rules.check(graph.load(made.model)) == ()


@pytest.mark.parametrize("name", ["onnxruntime-int8", "openvino-int8"])
def test_the_forms_for_cpus_do_not(name, conv_net, conv_net_images):
    made = recipe.apply(recipe.get(name), conv_net, conv_net_images[:8])
    assert "signed-int8" in broken(graph.load(made.model))


def test_a_zero_point_is_named_with_its_node(model):
    node = first(model, "QuantizeLinear")
    zero = next(t for t in model.graph.initializer if t.name == node.input[2])
    replace(model, zero.name, np.array(3, np.int8))
    found = [f for f in rules.check(model) if f.rule == "zero-point"]
    assert str(found[0]) == f"zero-point: node '{found[0].node}' has the zero point 3, it must be 0"
    assert node.name in {f.node for f in found}


def test_unsigned_activations(model):
    node = first(model, "QuantizeLinear")
    replace(model, node.input[2], np.array(0, np.uint8))
    assert "signed-int8" in broken(model)


def test_a_missing_zero_point_means_uint8(model):
    del first(model, "QuantizeLinear").input[2]
    assert "signed-int8" in broken(model)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_scale_that_is_none(model, value):
    replace(model, first(model, "QuantizeLinear").input[1], np.float32(value))
    assert broken(model) == ["scale"]


def test_a_computed_scale(model):
    node = first(model, "QuantizeLinear")
    model.graph.node.insert(0, helper.make_node("Identity", [node.input[1]], ["computed"], "compute"))
    node.input[1] = "computed"
    assert broken(model) == ["scale"]


def test_an_activation_with_a_scale_per_channel(model):
    replace(model, first(model, "QuantizeLinear").input[1], np.full(8, 0.1, np.float32))
    assert broken(model) == ["activation-per-tensor"]


def test_weights_with_one_scale_and_along_the_wrong_axis(model):
    node = first(model, "DequantizeLinear", weight=True)
    next(a for a in node.attribute if a.name == "axis").i = 1
    assert broken(model) == ["weight-per-channel"]
    replace(model, node.input[1], np.float32(0.1))
    replace(model, node.input[2], np.int8(0))
    assert broken(model) == ["weight-per-channel"]


def test_a_quantized_bias(model):
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    bias = graph.initializers(model)[conv.input[2]]
    model.graph.initializer.extend(
        [numpy_helper.from_array(bias.astype(np.int32), "b"), numpy_helper.from_array(np.float32(1), "s")]
    )
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b", "s"], ["bias"], "bias_dq"))
    conv.input[2] = "bias"
    assert broken(model) == ["bias-float"]


def test_a_residual_addition_with_one_quantized_input(model):
    addition = next(n for n in model.graph.node if n.op_type == "Add")
    producers = graph.producer_of(model)
    down = producers[addition.input[1]]
    addition.input[1] = producers[down.input[0]].input[0]
    assert broken(model) == ["residual-both"]


def test_an_operator_on_uint8_pixels(model):
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "image":
                node.input[place] = "turned"
    model.graph.node.insert(0, helper.make_node("Transpose", ["image"], ["turned"], "turn", perm=[0, 1, 2, 3]))
    assert broken(model) == ["uint8-cast"]


def small(value, other):
    """Return a graph that multiplies by one constant and adds another."""
    nodes = [
        helper.make_node("Mul", ["x", "value"], ["y"], "scale"),
        helper.make_node("Clip", ["y", "value", "other"], ["z"], "clip"),
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), "value"), numpy_helper.from_array(np.asarray(other), "other")]
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1]) for name in ("x", "z")]
    return onnx.helper.make_model(helper.make_graph(nodes, "g", shape[:1], shape[1:], tensors))


def test_a_constant_beyond_float16():
    assert broken(small(np.float16(np.inf), np.float16(1))) == ["float16-range"]
    assert broken(small(np.float16(2), np.float16(1))) == []


def test_constants_of_two_float_types_in_one_node():
    assert broken(small(np.float16(1), np.float32(1))) == ["one-type"]


def test_every_rule_is_broken_by_a_test_above_and_says_what_it_is():
    assert list(rules.RULES) == [
        "zero-point", "signed-int8", "scale", "activation-per-tensor", "weight-per-channel", "bias-float",
        "residual-both", "uint8-cast", "float16-range", "one-type",
    ]  # fmt: skip
    assert all(rule.__doc__ for rule in rules.RULES.values())
