"""Every recipe, found in its folder, keeps its promises on a tiny network."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from edgetl.quantize import graph, recipe
from edgetl_runtime import onnx_walk

MIN_COSINE = {"f32": 1.0 - 1e-6, "bf16": 1.0 - 1e-6, "f16": 0.9999, "int8": 0.995}
NORMALISATION = ("cast", "transpose", "sub", "mul")
# a layer that a recipe may leave in float: {recipe name: {layer: written reason}}
LEFT_FLOAT: dict[str, dict[str, str]] = {}


def run_openvino(model: bytes, images: np.ndarray) -> np.ndarray:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled([images])[0])


def run_onnxruntime(model: bytes, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
    )
    return session.run(["logits"], {"image": images})[0]


def run(name: str, model: bytes, images: np.ndarray) -> np.ndarray:
    """Run in the backend the recipe serves; the TensorRT forms are standard ONNX, which ONNX Runtime evaluates."""
    first = recipe.get(name).file.backends[0]
    return run_openvino(model, images) if first == "openvino" else run_onnxruntime(model, images)


@pytest.fixture(scope="module", params=recipe.names())
def quantized(request, conv_net, conv_net_images) -> recipe.QuantizedModel:
    return recipe.apply(recipe.get(request.param), conv_net, conv_net_images[:32])


def test_recipe_scores_are_near_the_float_models_on_unseen_images(quantized, conv_net, conv_net_images):
    unseen = conv_net_images[32:]
    expected = run_onnxruntime(conv_net, unseen).ravel()
    got = run(quantized.recipe, quantized.model, unseen).ravel()
    cosine = expected @ got / np.linalg.norm(expected) / np.linalg.norm(got)
    assert cosine >= MIN_COSINE[recipe.get(quantized.recipe).file.precision]


def test_recipe_keeps_the_dynamic_batch_and_the_types_of_input_and_output(quantized, conv_net_images):
    proto = onnx.load_from_string(quantized.model)
    image, logits = proto.graph.input[0].type.tensor_type, proto.graph.output[0].type.tensor_type
    assert (image.elem_type, logits.elem_type) == (onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT)
    assert image.shape.dim[0].dim_param == logits.shape.dim[0].dim_param == "N"
    together = run(quantized.recipe, quantized.model, conv_net_images[:3])
    alone = np.concatenate([run(quantized.recipe, quantized.model, conv_net_images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_recipe_leaves_no_layer_in_float_without_a_reason(quantized):
    assert quantized.layers == 4
    assert set(quantized.layers_left_float) <= set(LEFT_FLOAT.get(quantized.recipe, {}))


def test_recipe_leaves_the_normalisation_in_float(quantized):
    proto = graph.load(quantized.model)
    names = [node.name for node in proto.graph.node]
    assert names[:4] == list(NORMALISATION)
    quantizers = [node for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    assert not {node.input[0] for node in quantizers} & {"image", "float", "nchw", "centred"}


def test_recipe_quantizes_only_if_its_precision_is_int8(quantized):
    is_int8 = recipe.get(quantized.recipe).file.precision == "int8"
    assert (quantized.quantize_linear > 0, quantized.dequantize_linear > 0) == (is_int8, is_int8)


def test_recipe_graph_passes_the_devices_own_check(quantized):
    onnx_walk.check(quantized.model, name="models/x/model.onnx")


@pytest.mark.parametrize("name", [found.name for found in recipe.for_backend("tensorrt", precision="int8")])
def test_recipe_for_tensorrt_is_symmetric_with_float_biases(name, conv_net, conv_net_images):
    quantized = recipe.apply(recipe.get(name), conv_net, conv_net_images[:16])
    proto = graph.load(quantized.model)
    constants = graph.initializers(proto)
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero_point = constants[node.input[2]]
            assert zero_point.dtype == np.int8
            assert not zero_point.any()
        if node.op_type == "QuantizeLinear":
            assert constants[node.input[1]].size == 1
    producers = graph.producer_of(proto)
    add = next(node for node in proto.graph.node if node.name == "residual_add")
    assert [producers[name].op_type for name in add.input] == ["DequantizeLinear"] * 2
    for node in proto.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert constants[node.input[2]].dtype in (np.float32, np.float16)
            assert constants[producers[node.input[1]].input[1]].shape == (len(constants[node.input[2]]),)


@pytest.mark.parametrize("name", recipe.names())
def test_recipe_file_describes_itself(name):
    read = recipe.get(name)
    assert read.file.description
    assert read.file.schema_version == recipe.SCHEMA_VERSION
    assert read in recipe.for_backend(read.file.backends[0])


def test_layers_left_float_counts_a_layer_that_was_kept(conv_net, conv_net_images):
    chosen = recipe.get("tensorrt-int8")
    made = recipe.apply(chosen, conv_net, conv_net_images[:8], keep_float=("depth_conv",))
    assert made.layers_left_float == ("depth_conv",)
    assert graph.initializers(graph.load(made.model))["depthwise_w"].dtype == np.float32
