"""Q/DQ for ONNX Runtime on CPUs: asymmetric uint8 activations, int8 weights per output channel, int32 biases.

The fast form there: its kernels multiply unsigned by signed. TensorRT refuses it (non-zero zero points).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from edgetl.quantize import bias_correction, graph, static

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

USES_IMAGES = True
# eight bits ruin these, and the library quantizes their weights along an axis they do not have
KEPT_FLOAT = ("LayerNormalization", "InstanceNormalization", "Softmax")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Choices of a recipe.

    Attributes:
        ranges: How activation ranges are chosen.
        percentile: Share of values inside the range, for `ranges = "percentile"`.
        images: How many calibration images are used.
        bias_correction: Whether mean errors of rounded weights are taken out of the biases.
        bias_images: How many calibration images that uses.
        reduce_range: 7-bit weights: no saturation on processors without VNNI, more rounding.
    """

    ranges: static.RangeMethod = "minmax"
    percentile: float = 99.999
    images: int = 100
    bias_correction: bool = True
    bias_images: int = 64
    reduce_range: bool = False

    def __post_init__(self) -> None:
        static.check_numbers(images=self.images, bias_images=self.bias_images, percentile=self.percentile)


def quantize(
    model: bytes, calibration: NDArray[np.uint8], *, parameters: Parameters, exclude: tuple[str, ...]
) -> bytes:
    """Quantize for ONNX Runtime; see the package docstring."""
    original = graph.own_biases(graph.load(model))
    kept = tuple(node.name for node in original.graph.node if node.op_type in KEPT_FLOAT)
    quantized = static.quantize(
        original,
        calibration[: parameters.images],
        algorithm="ort_qdq",
        activations="uint8",
        method=parameters.ranges,
        exclude=(*exclude, *kept),
        reduce_range=parameters.reduce_range,
        options={
            "CalibPercentile": parameters.percentile,
            "OpTypesToExcludeOutputQuantization": ["Gemm"],  # logits in 8 bits would tie near the threshold
        },
    )
    if parameters.bias_correction:
        bias_correction.correct(quantized, original, calibration[: parameters.bias_images])
    return graph.to_bytes(quantized)
