"""Symmetric Q/DQ as in `symmetric_qdq`, with everything that is not int8 in float16 instead of float32.

In a strongly typed network what Q/DQ leaves out runs in the type the graph says: squeeze-and-excitation, hard-swish,
pooling and whatever is kept in float would run in float32. Scales are of float16 too, so each is put on float16's grid
before the weights are rounded: no error comes on top. The normalisation stays float32: its constants are grey levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, numpy_helper

from edgetl.quantize import graph, static
from edgetl.quantize.algorithms import float16, symmetric_qdq

if TYPE_CHECKING:
    from numpy.typing import NDArray

USES_IMAGES = True
OPSET = 19  # the first in which QuantizeLinear takes scales of float16

Parameters = static.Parameters


def quantize(
    model: bytes, calibration: NDArray[np.uint8], *, parameters: Parameters, exclude: tuple[str, ...]
) -> bytes:
    """Quantize for TensorRT; see the package docstring."""
    quantized = symmetric_qdq.quantized_graph(
        model, calibration, parameters=parameters, exclude=exclude, adjust=on_grid
    )
    next(opset for opset in quantized.opset_import if not opset.domain).version = OPSET
    return graph.to_bytes(float16.converted(quantized, exclude, algorithm="symmetric_qdq_f16"))


def on_grid(quantized: ModelProto, original: ModelProto) -> None:
    """Round every scale up to the next number of float16 and quantize the weights anew with it, in place."""
    tensors = {tensor.name: tensor for tensor in quantized.graph.initializer}
    floats = graph.initializers(original)
    done: set[str] = set()
    for node in quantized.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale = tensors[node.input[1]]
        if scale.name not in done:
            done.add(scale.name)
            scale.CopyFrom(numpy_helper.from_array(rounded_up(numpy_helper.to_array(scale)), scale.name))
        weight = tensors.get(node.input[0])
        source = floats.get(node.input[0].removesuffix("_quantized"))
        if weight is None or source is None:
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        wide = numpy_helper.to_array(scale)
        if wide.ndim:
            wide = wide.reshape([-1 if place == axis else 1 for place in range(source.ndim)])
        whole = np.clip(np.rint(source / wide), -127, 127).astype(np.int8)
        weight.CopyFrom(numpy_helper.from_array(whole, weight.name))


def rounded_up(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smallest numbers of float16 that are not below `scale`, as float32: ranges never shrink.

    Example:
        >>> float(rounded_up(np.float32(0.1))) >= 0.1
        True
    """
    near = np.asarray(scale).astype(np.float16)
    above = np.where(near.astype(np.float32) < scale, np.nextafter(near, np.float16(np.inf)), near)
    return np.asarray(np.maximum(above, np.finfo(np.float16).smallest_subnormal).astype(np.float32))
