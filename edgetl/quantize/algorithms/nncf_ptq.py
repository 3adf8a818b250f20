"""NNCF's post-training quantization of the ONNX model, for OpenVINO; the result is ONNX again.

Run on the OpenVINO model instead, it leaves convolutions of EfficientNet-Lite in float. The activations of depthwise
convolutions get a range per channel, which OpenVINO takes and ONNX Runtime refuses.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
from typing import TYPE_CHECKING, Any, Literal

from edgetl.quantize import bias_correction, graph, static
from edgetl.quantize.saturation import drop_saturated
from edgetl.quantize.vendor import translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import numpy as np
    import onnx
    from numpy.typing import NDArray

USES_IMAGES = True
RANGES = {
    "minmax": "MINMAX",
    "histogram": "HISTOGRAM",
}  # means and medians of extremes flipped 49 to 58 of 296 elpv images, these 6 and 8
NNCF_CORRECTIONS = ("fast", "full")
OVERFLOW_FIXES = {"enable": "ENABLE", "first_layer": "FIRST_LAYER", "disable": "DISABLE"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Choices of a recipe.

    Attributes:
        preset: `performance`: symmetric activations; `mixed`: asymmetric ones.
        ranges: How activation ranges are chosen; `default` is NNCF's own mixture of means, `histogram`
            searches those of least squared error.
        images: How many calibration images are used.
        bias_correction: `analytic` and `measured` are ours and reach depthwise convolutions; see
            `bias_correction.apply`. `fast` and `full` are NNCF's.
        bias_images: How many calibration images ours use.
        overflow_fix: Which weights use half of their range against saturation on processors without VNNI.
        transformer: Whether NNCF looks for attention and keeps it accurate.
    """

    preset: Literal["performance", "mixed"] = "performance"
    ranges: Literal["default", "minmax", "histogram"] = "minmax"
    images: int = 100
    bias_correction: Literal["none", "analytic", "measured", "fast", "full"] = "analytic"
    bias_images: int = 64
    overflow_fix: Literal["enable", "first_layer", "disable"] = "first_layer"
    transformer: bool = False

    def __post_init__(self) -> None:
        static.check_numbers(images=self.images, bias_images=self.bias_images, percentile=100)


def quantize(
    model: bytes, calibration: NDArray[np.uint8], *, parameters: Parameters, exclude: tuple[str, ...]
) -> bytes:
    """Quantize for OpenVINO; see the package docstring."""
    original = graph.own_biases(graph.load(model))
    with _quiet_nncf() as nncf, translated("nncf_ptq", more=_nncf_errors(nncf)):
        quantized: onnx.ModelProto = nncf.quantize(
            graph.own_biases(graph.load(model)),
            nncf.Dataset(calibration[: parameters.images], lambda image: {original.graph.input[0].name: image[None]}),
            **_options(nncf, parameters),
            ignored_scope=nncf.IgnoredScope(names=list(exclude)),
        )
    if parameters.bias_correction not in NNCF_CORRECTIONS:
        how = parameters.bias_correction
        bias_correction.apply(quantized, original, calibration[: parameters.bias_images], how=how)
    drop_saturated(quantized)
    return graph.to_bytes(quantized)


def _options(nncf: ModuleType, parameters: Parameters) -> dict[str, Any]:
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    advanced = AdvancedQuantizationParameters(
        overflow_fix=getattr(nncf.OverflowFix, OVERFLOW_FIXES[parameters.overflow_fix]),
        disable_bias_correction=parameters.bias_correction not in NNCF_CORRECTIONS,
    )
    if parameters.ranges != "default":
        advanced.activations_range_estimator_params = getattr(RangeEstimatorParametersSet, RANGES[parameters.ranges])
    return {
        "preset": getattr(nncf.QuantizationPreset, parameters.preset.upper()),
        "subset_size": parameters.images,
        "fast_bias_correction": parameters.bias_correction != "full",
        "model_type": nncf.ModelType.TRANSFORMER if parameters.transformer else None,
        "advanced_parameters": advanced,
    }


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[ModuleType]:
    """Import NNCF without its telemetry, and keep its progress bars and notes off the terminal while it works."""
    torch_note = logging.getLogger(
        "torch.utils.cpp_extension"
    )  # "No CUDA runtime is found", on every machine without one
    torch_note.disabled = True
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"  # read once, at import: nothing about a plant's models leaves it
    try:
        import nncf
        from nncf.common.logging.logger import nncf_logger
    finally:
        if before is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = before
    nncf_level = nncf_logger.level
    nncf_logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield nncf
    finally:
        nncf_logger.setLevel(nncf_level)
        torch_note.disabled = False


def _nncf_errors(nncf: ModuleType) -> tuple[type[Exception], ...]:
    """Return NNCF's exceptions, which have no base of their own."""
    return tuple(
        value for value in vars(nncf.errors).values() if isinstance(value, type) and issubclass(value, Exception)
    )
