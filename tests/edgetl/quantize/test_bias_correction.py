from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgetl.quantize import bias_correction, graph
from edgetl.quantize.algorithms import ort_qdq, symmetric_qdq

CASES = {"float bias": (symmetric_qdq, "stem"), "int32 bias": (ort_qdq, "stem_act")}


def output_means(model: bytes, tensor: str, images: np.ndarray) -> np.ndarray:
    proto = graph.load(model)
    proto.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([tensor], {"image": images})[0].mean(axis=(0, 2, 3))


@pytest.mark.parametrize("case", CASES)
def test_correct_brings_output_means_nearer_to_the_float_models(case, conv_net, conv_net_images):
    algorithm, tensor = CASES[case]
    exclude = graph.normalisation_nodes(graph.load(conv_net))
    distance = {}
    for corrected in (False, True):
        parameters = algorithm.Parameters(bias_correction="analytic" if corrected else "none")
        made = algorithm.quantize(conv_net, conv_net_images, parameters=parameters, exclude=exclude)
        gap = output_means(made, tensor, conv_net_images) - output_means(conv_net, tensor, conv_net_images)
        distance[corrected] = np.abs(gap).sum()
    assert distance[True] < distance[False]


def test_correct_shifts_every_layer_with_a_bias(conv_net, conv_net_images):
    exclude = graph.normalisation_nodes(graph.load(conv_net))
    parameters = symmetric_qdq.Parameters(bias_correction="none")
    quantized = graph.load(symmetric_qdq.quantize(conv_net, conv_net_images, parameters=parameters, exclude=exclude))
    assert bias_correction.correct(quantized, graph.load(conv_net), conv_net_images) == 4


def test_correct_is_exact_for_a_layer_whose_input_is_constant(conv_net):
    images = np.full((4, 24, 24, 3), 200, np.uint8)
    exclude = graph.normalisation_nodes(graph.load(conv_net))
    made = symmetric_qdq.quantize(conv_net, images, parameters=symmetric_qdq.Parameters(), exclude=exclude)
    proto, original = graph.load(made), graph.load(conv_net)
    weights = graph.initializers(original)
    producers = graph.producer_of(proto)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    stem = next(node for node in proto.graph.node if node.name == "stem_conv")
    rounded = bias_correction.dequantized(stem.input[1], producers=producers, tensors=tensors)
    expected = weights["stem_b"] + (weights["stem_w"] - rounded).sum(axis=(1, 2, 3)) * (200 - 127.5) / 127.5
    np.testing.assert_allclose(graph.initializers(proto)[stem.input[2]], expected, rtol=1e-4, atol=1e-6)


def test_input_means_are_those_of_the_float_model(conv_net, conv_net_images):
    means = bias_correction.input_means(graph.load(conv_net), conv_net_images[:10], ("stem_conv", "head"))
    expected = (conv_net_images[:10].mean(axis=(0, 1, 2)) - 127.5) / 127.5
    np.testing.assert_allclose(means["stem_conv"], expected, atol=1e-4)
    assert means["head"].shape == (8,)
