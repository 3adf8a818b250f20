"""Take the mean error that rounded weights cause back out of the biases.

NNCF's fast correction leaves out depthwise convolutions of ONNX models, and ONNX Runtime's quantizer corrects
nothing; rounding depthwise weights shifts the mean of whole channels. The correction is the analytic one of Nagel et
al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721), with the means of
the layers' inputs measured on calibration images instead of derived from batch normalisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgetl.quantize import graph, observe

if TYPE_CHECKING:
    from numpy.typing import NDArray


def apply(
    quantized: ModelProto,
    original: ModelProto,
    images: NDArray[np.uint8],
    *,
    how: Literal["none", "analytic", "measured", "fast", "full"],
) -> None:
    """Correct the biases of a quantized model in place: `analytic` is `correct`, `measured` adds `settle` to it."""
    if how in ("analytic", "measured"):
        correct(quantized, original, images)
    if how == "measured":
        settle(quantized, original, images)


def correct(quantized: ModelProto, original: ModelProto, images: NDArray[np.uint8]) -> int:
    """Shift the biases of the quantized layers, in place, so that their outputs have the float model's means.

    Args:
        quantized: Holds layers of the same names as `original`; int8 weights behind DequantizeLinear.
        original: The float model.
        images: uint8 array (N, H, W, 3); the means are taken over all of them.

    Returns:
        How many biases were shifted. Layers without a bias of their own keep their error.
    """
    targets = _targets(quantized, original)
    if not targets:
        return 0
    means = input_means(original, images, tuple(targets))
    constants = graph.initializers(original)
    producers = graph.producer_of(quantized)
    tensors = {tensor.name: tensor for tensor in quantized.graph.initializer}
    weights_of = {node.name: node for node in original.graph.node}
    for name, node in targets.items():
        weights = constants[weights_of[name].input[1]]
        error = weights - dequantized(node.input[1], producers=producers, tensors=tensors)
        _shift(node.input[2], _mean_output(node, error, means[name]), producers=producers, tensors=tensors)
    return len(targets)


def settle(quantized: ModelProto, original: ModelProto, images: NDArray[np.uint8]) -> None:
    """Shift the biases of the last layer, in place, so that the mean logits over the images are the float model's.

    Takes out what the analytic correction cannot know, the mean error of ranges that clip, where it counts. Done for
    every layer, as NNCF's full correction does, it takes a pass a layer, and corrections of neighbours add up.
    """
    outputs = {output.name for output in original.graph.output}
    last = [node for name, node in _targets(quantized, original).items() if outputs & set(node.output)]
    if not last:
        return
    error = observe.logits(original, images).mean(axis=0) - observe.logits(quantized, images).mean(axis=0)
    tensors = {tensor.name: tensor for tensor in quantized.graph.initializer}
    _shift(last[0].input[2], error.astype(np.float32), producers=graph.producer_of(quantized), tensors=tensors)


def input_means(
    model: ModelProto, images: NDArray[np.uint8], layers: tuple[str, ...]
) -> dict[str, NDArray[np.float32]]:
    """Return the mean of each layer's data input, per channel, float32 (C,), over images and positions."""
    nodes = {node.name: node for node in model.graph.node}
    fed = {name: nodes[name].input[0] for name in layers}
    deep = sorted({tensor for name, tensor in fed.items() if nodes[name].op_type == "Conv"})
    flat = sorted(set(fed.values()) - set(deep))
    means = observe.per_channel(model, images, deep, statistic="mean", flat=flat)
    return {name: means[tensor] for name, tensor in fed.items()}


def dequantized(name: str, *, producers: dict[str, NodeProto], tensors: dict[str, TensorProto]) -> NDArray[np.float32]:
    """Return the float values that a DequantizeLinear of constants gives."""
    node = producers[name]
    values, scale = (numpy_helper.to_array(tensors[key]).astype(np.float32) for key in node.input[:2])
    zero = numpy_helper.to_array(tensors[node.input[2]]).astype(np.float32) if len(node.input) > 2 else np.float32(0)
    if scale.ndim == 1 and scale.size > 1:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1) % values.ndim
        shape = [-1 if at == axis else 1 for at in range(values.ndim)]
        scale, zero = scale.reshape(shape), np.broadcast_to(zero, scale.shape).reshape(shape)
    return np.asarray((values - zero) * scale, np.float32)


def _targets(quantized: ModelProto, original: ModelProto) -> dict[str, NodeProto]:
    """Return the quantized layers with a constant bias that is theirs alone."""
    constants = {tensor.name for tensor in quantized.graph.initializer}
    producers = graph.producer_of(quantized)
    known = {node.name for node in original.graph.node}
    uses: dict[str, int] = {}
    for node in quantized.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1

    def fits(node: NodeProto) -> bool:
        if node.op_type not in ("Conv", "Gemm") or node.name not in known or len(node.input) < 3:
            return False
        weights, bias = producers.get(node.input[1]), producers.get(node.input[2])
        own = uses[node.input[2]] == 1 and (node.input[2] if bias is None else bias.input[0]) in constants
        return weights is not None and weights.op_type == "DequantizeLinear" and weights.input[0] in constants and own

    return {node.name: node for node in quantized.graph.node if fits(node)}


def _mean_output(node: NodeProto, error: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the weights' `error` adds to each output channel on an input of this mean."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Gemm":
        return np.asarray((error if attributes.get("transB", 0) else error.T) @ mean, np.float32)
    groups = attributes.get("group", 1)
    summed = error.sum(axis=tuple(range(2, error.ndim)))  # padding at the borders is neglected
    of_group = np.split(mean, groups)
    rows = np.split(summed, groups)
    return np.concatenate([row @ part for row, part in zip(rows, of_group, strict=True)]).astype(np.float32)


def _shift(
    name: str, amount: NDArray[np.float32], *, producers: dict[str, NodeProto], tensors: dict[str, TensorProto]
) -> None:
    """Add to a float bias, or to the int32 bias behind a DequantizeLinear."""
    node = producers.get(name)
    if node is None:
        bias = numpy_helper.to_array(tensors[name])
        tensors[name].CopyFrom(numpy_helper.from_array((bias + amount).astype(bias.dtype), name))
        return
    stored = tensors[node.input[0]]
    bias = numpy_helper.to_array(stored).astype(np.float64)
    scale = numpy_helper.to_array(tensors[node.input[1]]).astype(np.float64)
    limits = np.iinfo(np.int32)
    shifted = np.clip(np.rint(bias + amount / scale), limits.min, limits.max).astype(np.int32)
    stored.CopyFrom(numpy_helper.from_array(shifted, stored.name))
