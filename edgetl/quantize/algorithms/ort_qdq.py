"""Q/DQ for ONNX Runtime on CPUs: asymmetric uint8 activations, int8 weights per output channel, int32 biases.

The fast form there: its kernels multiply unsigned by signed. TensorRT refuses it (non-zero zero points).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetl.quantize import bias_correction, graph, static

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

USES_IMAGES = True
# eight bits ruin these, and the library quantizes their weights along an axis they do not have
KEPT_FLOAT = ("LayerNormalization", "InstanceNormalization", "Softmax")


Parameters = static.Parameters


def quantize(
    model: bytes, calibration: NDArray[np.uint8], *, parameters: Parameters, exclude: tuple[str, ...]
) -> bytes:
    """Quantize for ONNX Runtime; see the package docstring."""
    original = graph.own_biases(graph.load(model))
    quantized = static.quantize(
        original,
        calibration[: parameters.images],
        algorithm="ort_qdq",
        activations="uint8",
        method=parameters.ranges,
        exclude=(*exclude, *attention_nodes(original)),
        reduce_range=parameters.reduce_range,
        options={
            "CalibPercentile": parameters.percentile,
            "OpTypesToExcludeOutputQuantization": ["Gemm"],  # logits in 8 bits would tie near the threshold
        },
    )
    bias_correction.apply(quantized, original, calibration[: parameters.bias_images], how=parameters.bias_correction)
    return graph.to_bytes(quantized)


def attention_nodes(model: ModelProto) -> tuple[str, ...]:
    """Return the names of normalisations, softmax and products of two computed tensors: they stay float.

    With only the softmax in float, ONNX Runtime 1.31's extended optimisations compute something else (DeiT-tiny: cosine
    to float 0.35, without them 0.998), so attention stays float as a whole.
    """
    layers = graph.layers(model)
    products = {node.name for node in model.graph.node if node.op_type == "MatMul" and node.name not in layers}
    return tuple(node.name for node in model.graph.node if node.op_type in KEPT_FLOAT or node.name in products)
