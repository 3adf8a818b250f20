"""Q/DQ as TensorRT's parser takes it: signed int8 with zero point 0 everywhere.

Activations per tensor, weights per output channel, biases float; Q/DQ in front of every layer and of both inputs of a
residual addition, so that the engine can fuse convolution, activation and addition; everything else stays float.
Slow on CPUs (2-5x slower than `ort_qdq` in ONNX Runtime), which here only evaluates it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from edgetl.quantize import bias_correction, graph, static

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

USES_IMAGES = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Choices of a recipe.

    Attributes:
        ranges: How activation ranges are chosen.
        percentile: Share of values inside the range, for `ranges = "percentile"`.
        images: How many calibration images are used.
        bias_correction: Whether mean errors of rounded weights are taken out of the biases.
        bias_images: How many calibration images that uses.
    """

    ranges: static.RangeMethod = "minmax"
    percentile: float = 99.999
    images: int = 100
    bias_correction: bool = True
    bias_images: int = 64

    def __post_init__(self) -> None:
        static.check_numbers(images=self.images, bias_images=self.bias_images, percentile=self.percentile)


def quantize(
    model: bytes, calibration: NDArray[np.uint8], *, parameters: Parameters, exclude: tuple[str, ...]
) -> bytes:
    """Quantize for TensorRT; see the package docstring."""
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
        options={
            "CalibPercentile": parameters.percentile,
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": [*graph.LAYER_OPS, "Add"],
        },
    )
    if parameters.bias_correction:
        bias_correction.correct(quantized, original, calibration[: parameters.bias_images])
    return graph.to_bytes(quantized)
