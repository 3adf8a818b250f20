"""Q/DQ as TensorRT's parser takes it: signed int8 with zero point 0 everywhere.

Activations per tensor, weights per output channel, biases float; Q/DQ in front of every layer and of both inputs of a
residual addition, so that the engine can fuse convolution, activation and addition; everything else stays float.
Slow on CPUs (2-5x slower than `ort_qdq` in ONNX Runtime), which here only evaluates it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetl.quantize import bias_correction, graph, static

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto

USES_IMAGES = True


Parameters = static.Parameters


def quantize(
    model: bytes, calibration: NDArray[np.uint8], *, parameters: Parameters, exclude: tuple[str, ...]
) -> bytes:
    """Quantize for TensorRT; see the package docstring."""
    return graph.to_bytes(quantized_graph(model, calibration, parameters=parameters, exclude=exclude))


def quantized_graph(
    model: bytes,
    calibration: NDArray[np.uint8],
    *,
    parameters: Parameters,
    exclude: tuple[str, ...],
    adjust: Callable[[ModelProto, ModelProto], None] | None = None,
) -> ModelProto:
    """Quantize, and correct the biases last.

    Args:
        model: As for `quantize`.
        calibration: As for `quantize`.
        parameters: As for `quantize`.
        exclude: As for `quantize`.
        adjust: Called with the quantized and the float graph, changes the former in place; the biases then make up
            for it too.
    """
    original = graph.own_biases(graph.load(model))
    nodes = tuple(name for name in (*graph.layers(original), *graph.residual_adds(original)) if name not in exclude)
    quantized = static.quantize(
        original,
        calibration[: parameters.images],
        algorithm="symmetric_qdq",
        activations="int8",
        method=parameters.ranges,
        nodes=nodes,
        exclude=exclude,
        reduce_range=parameters.reduce_range,
        options={
            "CalibPercentile": parameters.percentile,
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": [*graph.LAYER_OPS, "Add"],
        },
    )
    if adjust is not None:
        adjust(quantized, original)
    bias_correction.apply(quantized, original, calibration[: parameters.bias_images], how=parameters.bias_correction)
    return quantized
