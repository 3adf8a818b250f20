from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from edgetl.quantize import graph
from edgetl.quantize.algorithms import ort_qdq

NORMALISATION = ("cast", "transpose", "sub", "mul")


def quantize(model: bytes, batch: np.ndarray, /, **parameters: object) -> bytes:
    return ort_qdq.quantize(model, batch, parameters=ort_qdq.Parameters(**parameters), exclude=NORMALISATION)


def run(model: bytes, images: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"image": images})[0]


def test_quantize_uses_unsigned_activations_and_signed_weights_per_channel(conv_net, conv_net_images):
    proto = graph.load(quantize(conv_net, conv_net_images))
    constants = graph.initializers(proto)
    zero_points = [constants[node.input[2]] for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    assert {value.dtype.name for value in zero_points} == {"uint8"}
    producers = graph.producer_of(proto)
    stem = next(node for node in proto.graph.node if node.name == "stem_conv")
    weights, scale = (constants[name] for name in producers[stem.input[1]].input[:2])
    assert (weights.dtype.name, weights.shape, scale.shape) == ("int8", (8, 3, 3, 3), (8,))


def test_quantize_leaves_the_logits_in_float(conv_net, conv_net_images):
    proto = graph.load(quantize(conv_net, conv_net_images))
    assert graph.producer_of(proto)["logits"].op_type == "Gemm"


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "entropy"])
def test_quantize_stays_near_float_with_every_range_method(ranges, conv_net, conv_net_images):
    expected, got = (
        run(model, conv_net_images) for model in (conv_net, quantize(conv_net, conv_net_images, ranges=ranges))
    )
    assert np.corrcoef(expected.ravel(), got.ravel())[0, 1] > 0.99


def test_quantize_keeps_weights_to_seven_bits_with_reduce_range(conv_net, conv_net_images):
    largest = {}
    for reduce_range in (False, True):
        constants = graph.initializers(graph.load(quantize(conv_net, conv_net_images, reduce_range=reduce_range)))
        weights = [value for value in constants.values() if value.dtype == np.int8 and value.ndim == 4]
        largest[reduce_range] = max(int(np.abs(value.astype(int)).max()) for value in weights)
    assert largest == {False: 127, True: 64}


def test_quantize_calibrates_on_the_first_images_only(conv_net, conv_net_images):
    few = quantize(conv_net, conv_net_images, images=8, bias_images=8)
    assert few == quantize(conv_net, conv_net_images[:8])
    assert few != quantize(conv_net, conv_net_images)


def test_attention_nodes_are_softmax_and_products_of_computed_tensors(conv_net):
    proto = graph.load(conv_net)
    assert ort_qdq.attention_nodes(proto) == ()
    proto.graph.node.append(helper.make_node("Softmax", ["out"], ["soft"], "softmax"))
    proto.graph.node.append(helper.make_node("MatMul", ["soft", "out"], ["mixed"], "attend"))
    proto.graph.node.append(helper.make_node("MatMul", ["features", "head_w"], ["dense"], "dense"))
    assert ort_qdq.attention_nodes(proto) == ("softmax", "attend")
