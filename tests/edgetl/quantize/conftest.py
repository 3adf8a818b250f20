"""A small network with a residual stream that carries factors, and a gate."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

STREAM = 8


def build_stream_net(*, size_px: int = 16, classes: int = 3, spread: int = 0, seed: int = 0) -> bytes:
    """Return stem → stream → (expand, ReLU, depthwise, ReLU, gate, project) → stream → pool → logits.

    Args:
        size_px: Side of the input.
        classes: Number of logits.
        spread: Channels of the stream are scaled by powers of two from -spread to spread; the answers stay the same.
        seed: Of the weights.
    """
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return (rng.normal(0, 1, shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)

    names = {
        "stem_w": (STREAM, 3, 3, 3),
        "expand_w": (16, STREAM, 1, 1),
        "depth_w": (16, 1, 3, 3),
        "gate_w": (16, 16, 1, 1),
        "project_w": (STREAM, 16, 1, 1),
        "head_w": (classes, STREAM),
    }
    constants = {name: weights(*shape) for name, shape in names.items()}
    constants |= {name.replace("_w", "_b"): weights(shape[0], 1)[:, 0] for name, shape in names.items()}
    factors = np.exp2(rng.integers(-spread, spread + 1, STREAM)).astype(np.float32)
    for name in ("stem", "project"):
        constants[f"{name}_w"] *= factors[:, None, None, None]
        constants[f"{name}_b"] *= factors
    constants["expand_w"] /= factors[None, :, None, None]
    constants["head_w"] /= factors[None, :]
    constants |= {
        "mean": np.full((1, 3, 1, 1), 127.5, np.float32),
        "scale": np.full((1, 3, 1, 1), 1 / 127.5, np.float32),
        "axes": np.array([2, 3]),
    }
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["nchw", "mean"], ["centred"], "sub"),
        helper.make_node("Mul", ["centred", "scale"], ["normal"], "mul"),
        helper.make_node("Conv", ["normal", "stem_w", "stem_b"], ["stream"], "stem", **pads),
        helper.make_node("Conv", ["stream", "expand_w", "expand_b"], ["wide"], "expand"),
        helper.make_node("Relu", ["wide"], ["wide_act"], "wide_relu"),
        helper.make_node("Conv", ["wide_act", "depth_w", "depth_b"], ["deep"], "depth", group=16, **pads),
        helper.make_node("Relu", ["deep"], ["deep_act"], "deep_relu"),
        helper.make_node("ReduceMean", ["deep_act", "axes"], ["squeezed"], "squeeze", keepdims=1),
        helper.make_node("Conv", ["squeezed", "gate_w", "gate_b"], ["gate_raw"], "gate_conv"),
        helper.make_node("HardSigmoid", ["gate_raw"], ["gate"], "gate_act"),
        helper.make_node("Mul", ["deep_act", "gate"], ["gated"], "gating"),
        helper.make_node("Conv", ["gated", "project_w", "project_b"], ["back"], "project"),
        helper.make_node("Add", ["back", "stream"], ["sum"], "residual"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["features"], "flatten"),
        helper.make_node("Gemm", ["features", "head_w", "head_b"], ["logits"], "head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "stream_net",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", size_px, size_px, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def stream_net():
    """Builder of small networks: stream_net(spread=4) has channels of very different ranges."""
    return build_stream_net


@pytest.fixture(scope="session")
def stream_images():
    """32 random images for `stream_net`, uint8 (32, 16, 16, 3)."""
    return np.random.default_rng(3).integers(0, 256, (32, 16, 16, 3)).astype(np.uint8)
