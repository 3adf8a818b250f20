"""Activations before a Q/DQ pair go where the pair saturates within their bounds, and nowhere else."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.quantize import graph, observe
from edgetl.quantize.saturation import drop_saturated


def net(op, scale, zero, *, bounds=(0.0, 6.0), also_read=False):
    """Return image → scaled to -3 … 12.3 → `op` → Q/DQ → mean per channel."""
    constants = {"span": np.float32(15.3 / 255), "shift": np.float32(-3), "scale": np.float32(scale), "zero": zero}
    constants |= {"low": np.float32(bounds[0]), "high": np.float32(bounds[1]), "axes": np.array([1, 2], np.int64)}
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "span"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["x"]),
        helper.make_node(op, ["x", "low", "high"] if op == "Clip" else ["x"], ["active"], name="activation"),
        helper.make_node("QuantizeLinear", ["active", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        *([helper.make_node("Add", ["dq", "active"], ["sum"])] if also_read else []),
        helper.make_node("ReduceMean", ["sum" if also_read else "dq", "axes"], ["logits"], keepdims=0),
    ]
    values = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 8, 3]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3]),
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "net", values[:1], values[1:], tensors)
    return graph.load(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )


@pytest.mark.parametrize(
    ("op", "scale", "zero", "goes"),
    [
        ("Clip", 6 / 255, np.uint8(0), True),
        ("Clip", 5.2 / 255, np.uint8(0), True),
        ("Clip", 5.2 / 255, np.int8(-128), True),
        ("Clip", 7 / 255, np.uint8(0), False),
        ("Clip", 5.2 / 255, np.uint8(3), False),
        ("Clip", 5.2 / 127, np.int8(0), False),
        ("Relu", 9 / 255, np.uint8(0), True),
        ("Relu", 9 / 255, np.uint8(1), False),
    ],
)
def test_drop_saturated_takes_out_what_changes_no_answer(op, scale, zero, goes):
    model = net(op, scale, zero)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    before = observe.logits(model, images)
    drop_saturated(model)
    onnx.checker.check_model(model)
    assert ("activation" not in [node.name for node in model.graph.node]) == goes
    assert np.array_equal(observe.logits(model, images), before)


def test_drop_saturated_keeps_an_activation_that_others_read():
    model = net("Clip", 5.2 / 255, np.uint8(0), also_read=True)
    drop_saturated(model)
    assert "activation" in [node.name for node in model.graph.node]
