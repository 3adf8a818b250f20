"""One call into ONNX Runtime's static quantizer, without its notes on stderr, its temporary files or its hash order."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from edgetl.quantize.vendor import translated
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

RangeMethod = Literal["minmax", "percentile", "entropy"]
BiasCorrection = Literal["none", "analytic", "measured"]
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
HISTOGRAM_CHUNK = 8  # images whose activations are held in memory at once


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Choices of a recipe for ONNX Runtime's quantizer.

    Attributes:
        ranges: How activation ranges are chosen.
        percentile: Share of values inside the range, for `ranges = "percentile"`.
        images: How many calibration images are used.
        bias_correction: How mean errors are taken out of the biases; see `bias_correction.apply`.
        bias_images: How many calibration images that uses.
        reduce_range: 7-bit weights: no saturation on processors without VNNI, more rounding.
    """

    ranges: RangeMethod = "minmax"
    percentile: float = 99.999
    images: int = 100
    bias_correction: BiasCorrection = "analytic"
    bias_images: int = 64
    reduce_range: bool = False

    def __post_init__(self) -> None:
        check_numbers(images=self.images, bias_images=self.bias_images, percentile=self.percentile)


class Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Feeds single images; can be set to a part of them, so that histograms are collected in pieces."""

    def __init__(self, feed: str, images: NDArray[np.uint8]) -> None:
        self._feed = feed
        self._images = images
        self._next = 0
        self._end = len(images)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next image as a batch of one, or None at the end."""
        if self._next >= self._end:
            return None
        self._next += 1
        return {self._feed: self._images[self._next - 1 : self._next]}

    def __len__(self) -> int:
        return len(self._images)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with the images from `start_index` to before `end_index`."""
        self._next, self._end = start_index, end_index


def quantize(
    model: onnx.ModelProto,
    images: NDArray[np.uint8],
    *,
    algorithm: str,
    activations: Literal["uint8", "int8"],
    method: RangeMethod,
    nodes: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    reduce_range: bool = False,
    options: Mapping[str, Any],
) -> onnx.ModelProto:
    """Insert Q/DQ pairs: weights int8 per output channel and symmetric, activations per tensor.

    Args:
        model: Float model; not changed.
        images: uint8 array (N, H, W, 3).
        algorithm: Named in errors.
        activations: Their integer type.
        method: How activation ranges are chosen.
        nodes: Names of the nodes to quantize; empty for all that the library can.
        exclude: Names of nodes that stay float.
        reduce_range: 7-bit weights, for processors without VNNI.
        options: The library's own extra options.

    Raises:
        QuantizeError: The library cannot quantize this model.
    """
    source = onnx.ModelProto()
    source.CopyFrom(model)
    add_pre_process_metadata(source)  # the exported graph is folded already; else the library warns on the root logger
    extra = dict(options) | {"CalibTensorRangeSymmetric": activations == "int8"}
    if method != "minmax":
        chunk = max(size for size in range(1, HISTOGRAM_CHUNK + 1) if len(images) % size == 0)
        extra["CalibStridedMinMax"] = chunk  # works for histograms as well and bounds their memory
    op_types = sorted({node.op_type for node in model.graph.node if not nodes or node.name in nodes})
    quiet = contextlib.redirect_stdout(io.StringIO())  # histograms are announced by print
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder, translated(algorithm), quiet:
        out = Path(folder) / "quantized.onnx"
        quantize_static(
            source,
            out,
            Images(model.graph.input[0].name, images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_supported(op_types),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8 if activations == "uint8" else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(nodes),
            nodes_to_exclude=list(exclude),
            calibrate_method=METHODS[method],
            extra_options=extra,
        )
        return onnx.load(out)


def _supported(op_types: list[str]) -> list[str]:
    """Keep the operators the library quantizes by default; the rest stays float."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return [op for op in op_types if op in QDQRegistry or op in QLinearOpsRegistry]


def check_numbers(*, images: int, bias_images: int, percentile: float) -> None:
    """Check the ranges of a recipe's numbers.

    Raises:
        UsageError: One of them is out of range.
    """
    for name, value in (("images", images), ("bias_images", bias_images)):
        if value < 1:
            raise UsageError(name, "at least 1", str(value), fix=f"{name} = 100")
    if not 50 < percentile <= 100:
        raise UsageError("percentile", "above 50 and at most 100", str(percentile), fix="percentile = 99.999")
