"""Symmetric Q/DQ with float16 beside it: scales on float16's grid, weights rounded with them, int8 where it was."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgetl.nvidia import rules
from edgetl.quantize import graph
from edgetl.quantize.algorithms import symmetric_qdq, symmetric_qdq_f16
from edgetl_runtime import backends
from edgetl_runtime.backends.base import LoadOptions

PARAMETERS = symmetric_qdq_f16.Parameters(images=16, bias_images=16)


@pytest.fixture(scope="module")
def made(conv_net, conv_net_images):
    exclude = graph.normalisation_nodes(graph.load(conv_net))
    return {
        algorithm: graph.load(
            algorithm.quantize(conv_net, conv_net_images[:16], parameters=PARAMETERS, exclude=exclude)
        )
        for algorithm in (symmetric_qdq, symmetric_qdq_f16)
    }


def logits(model, images):
    backend, options = backends.get("onnxruntime"), LoadOptions(threads=1)
    with backend.load(backend.compile(model, options), options) as session:
        return session.infer(images)["logits"]


def test_everything_but_int8_and_the_normalisation_is_float16(made):
    model = made[symmetric_qdq_f16]
    assert next(o.version for o in model.opset_import if not o.domain) == 19
    kinds = {name: array.dtype.name for name, array in graph.initializers(model).items()}
    assert sorted(name for name, kind in kinds.items() if kind == "float32") == ["mean", "scale"]
    assert {kind for name, kind in kinds.items() if name not in ("mean", "scale")} <= {"float16", "int8", "int64"}
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert graph.layers_left_float(model) == ()
    assert rules.check(model) == ()


def test_the_same_nodes_are_quantized_as_with_float32_beside_them(made):
    plain, half = made[symmetric_qdq], made[symmetric_qdq_f16]
    for operator in ("QuantizeLinear", "DequantizeLinear", "Conv", "Gemm"):
        assert graph.count(half, operator) == graph.count(plain, operator)
    assert graph.count(half, "Cast") == graph.count(plain, "Cast") + 2  # behind the normalisation, before the logits


def test_scores_stay_as_near_to_float_as_with_float32(made, conv_net, conv_net_images):
    unseen = conv_net_images[16:]
    expected = logits(conv_net, unseen).ravel()
    cosine = {}
    for algorithm, model in made.items():
        found = logits(model.SerializeToString(), unseen).ravel()
        cosine[algorithm] = expected @ found / np.linalg.norm(expected) / np.linalg.norm(found)
    assert cosine[symmetric_qdq_f16] >= 0.997
    assert cosine[symmetric_qdq_f16] >= cosine[symmetric_qdq] - 0.002


def test_weights_are_rounded_with_the_scale_that_ships(made, conv_net):
    model, floats = made[symmetric_qdq_f16], graph.initializers(graph.load(conv_net))
    values = graph.initializers(model)
    seen = 0
    for node in (n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in values):
        axis = next(a.i for a in node.attribute if a.name == "axis")
        scale = np.moveaxis(values[node.input[1]].astype(np.float32).reshape(-1, 1, 1, 1), 0, axis)
        source = floats[node.input[0].removesuffix("_quantized")]
        scale = scale.reshape([-1 if place == axis else 1 for place in range(source.ndim)])
        error = np.abs(values[node.input[0]] * scale - source)
        assert (error <= scale / 2 * 1.001).all()
        seen += 1
    assert seen == 4


@pytest.mark.parametrize("value", [0.1, 1 / 127, 3e-5, 1e-9, 1.0])
def test_rounded_up_is_on_the_grid_and_never_below(value):
    scale = np.array([value, value * 1.3], np.float32)
    up = symmetric_qdq_f16.rounded_up(scale)
    assert (up >= scale).all()
    assert np.array_equal(up.astype(np.float16).astype(np.float32), up)
    if value > 1e-4:
        assert (up <= scale * 1.001).all()


def test_equal_arguments_give_equal_bytes(made, conv_net, conv_net_images):
    exclude = graph.normalisation_nodes(graph.load(conv_net))
    again = symmetric_qdq_f16.quantize(conv_net, conv_net_images[:16], parameters=PARAMETERS, exclude=exclude)
    assert again == made[symmetric_qdq_f16].SerializeToString(deterministic=True)
    onnx.checker.check_model(onnx.load_from_string(again), full_check=True)
