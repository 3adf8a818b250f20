"""Cross-layer equalisation: channels of one tensor are scaled to comparable ranges; the network computes the same.

A tensor with one range for all channels loses the quiet ones to rounding. Layers before it are divided and layers
behind it multiplied by one factor per channel (Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction", arXiv 1906.04721). Here the ranges are those measured on calibration images, a group holds all
tensors that must share their factors (a residual stream with everything that writes and reads it), and the factors are
powers of two, so that not a bit of the float model's answers changes.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper

from edgetl.quantize import graph, observe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Factors = NDArray[np.float32]

KEEPS_CHANNELS = ("Relu", "LeakyRelu", "Identity", "GlobalAveragePool", "AveragePool", "MaxPool", "ReduceMean")
FLATTENS = ("Flatten", "Squeeze", "Reshape")
LIMIT = 10  # factors stay within 2 ** ±LIMIT


@dataclasses.dataclass(slots=True)
class Group:
    """Tensors that share one factor per channel.

    Attributes:
        tensors: Their names.
        writers: Layers whose output channels are divided.
        readers: Layers whose input channels are multiplied.
        fixed: Whether something touches it that does not carry factors through.
    """

    tensors: set[str]
    writers: list[NodeProto] = dataclasses.field(default_factory=list)
    readers: list[NodeProto] = dataclasses.field(default_factory=list)
    fixed: bool = False


def equalise(model: ModelProto, images: NDArray[np.uint8]) -> int:
    """Scale the channels of every group that allows it, in place.

    Args:
        model: Float model; its answers stay the same to the last bit.
        images: Calibration images, uint8 (N, H, W, 3), on which ranges are measured.

    Returns:
        How many groups were scaled.
    """
    free = [group for group in groups(model) if not group.fixed and group.writers and group.readers]
    if not free:
        return 0
    shapes = _ranks(model)
    names = sorted({name for group in free for name in _observed(group, model)})
    deep = [name for name in names if shapes.get(name) == 4]
    largest = observe.per_channel(
        model, images, deep, statistic="largest", flat=[name for name in names if name not in deep]
    )
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    scaled = 0
    for group in free:
        ranges = np.maximum.reduce([largest[name] for name in _observed(group, model)])
        factors = _factors(
            ranges, [_input_range(node, tensors) for node in group.readers if not _depthwise(node, tensors)]
        )
        if (factors != 1).any():
            scale(model, group, factors)
            scaled += 1
    return scaled


def scale(model: ModelProto, group: Group, factors: Factors) -> None:
    """Divide what writes a group, and multiply what reads it, in place; with powers of two not a bit is lost.

    Args:
        model: Holds the group's layers.
        group: One of `groups(model)` that is not fixed.
        factors: One per channel, float32 (C,).
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in group.writers:
        _divide(node, factors, tensors)
    for node in group.readers:
        _multiply(node, factors, tensors)


def groups(model: ModelProto) -> list[Group]:
    """Find the groups of tensors that must share factors, those that cannot be scaled among them."""
    finder = _Finder(model)
    for node in model.graph.node:
        finder.visit(node)
    for value in (*model.graph.input, *model.graph.output):
        finder.fix(value.name)
    return finder.distinct()


class _Finder:
    """Walks a graph in its order and unites tensors."""

    def __init__(self, model: ModelProto) -> None:
        self._of: dict[str, Group] = {}
        self._constants = graph.constant_names(model)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._shapes = _shapes(model)
        self._uses: dict[str, int] = {}
        for node in model.graph.node:
            for name in node.input:
                self._uses[name] = self._uses.get(name, 0) + 1

    def visit(self, node: NodeProto) -> None:
        """Unite, extend or fix the groups that a node touches."""
        data = [name for name in node.input if name and name not in self._constants]
        if node.op_type in ("Conv", "Gemm") and len(data) == 1 and data[0] == node.input[0]:
            self._layer(node)
        elif len(data) == 1 and self._carries(node):
            self._unite(data[0], node.output[0])
        elif node.op_type == "Add" and len(data) == 2:
            for name in data:
                self._unite(name, node.output[0])
        elif node.op_type == "Mul" and len(data) == 2 and [self._group(name).fixed for name in data].count(True) == 1:
            scaled = next(name for name in data if not self._group(name).fixed)  # the other one is a gate
            self._unite(scaled, node.output[0])
        else:
            for name in (*data, *node.output):
                self.fix(name)

    def fix(self, name: str) -> None:
        """Say that a tensor's channels must stay as they are."""
        if name:
            self._group(name).fixed = True

    def distinct(self) -> list[Group]:
        """Return the groups, each once, in the order of their first tensors."""
        return list({id(group): group for group in self._of.values()}.values())

    def _layer(self, node: NodeProto) -> None:
        alone = all(self._uses[name] == 1 for name in node.input[1:] if name)
        weights = self._tensors.get(node.input[1])
        if weights is None or not alone or (node.op_type == "Conv" and not _plain_or_depthwise(node, weights)):
            self.fix(node.input[0])
            self.fix(node.output[0])
            return
        self._group(node.input[0]).readers.append(node)
        self._group(node.output[0]).writers.append(node)

    def _group(self, name: str) -> Group:
        return self._of.setdefault(name, Group(tensors={name}))

    def _unite(self, one: str, other: str) -> None:
        kept, gone = self._group(one), self._group(other)
        if kept is gone:
            return
        kept.tensors |= gone.tensors
        kept.writers += gone.writers
        kept.readers += gone.readers
        kept.fixed |= gone.fixed
        for name in gone.tensors:
            self._of[name] = kept

    def _carries(self, node: NodeProto) -> bool:
        """Say whether an operator with one data input hands factors on as they are."""
        kinds = ((KEEPS_CHANNELS, self._spatial), (("Clip",), self._is_relu), (FLATTENS, self._flattens))
        return any(node.op_type in ops and fits(node) for ops, fits in kinds)

    def _is_relu(self, node: NodeProto) -> bool:
        low, high = (node.input[at] if len(node.input) > at else "" for at in (1, 2))
        return not high and low in self._tensors and float(numpy_helper.to_array(self._tensors[low]).min()) == 0

    def _spatial(self, node: NodeProto) -> bool:
        """Say whether a reduction leaves the channels alone."""
        if node.op_type != "ReduceMean":
            return True
        axes = self._tensors.get(node.input[1]) if len(node.input) > 1 else None
        rank = len(self._shapes.get(node.input[0], ()))
        return axes is not None and {int(axis) % 4 for axis in numpy_helper.to_array(axes)} <= {2, 3} and rank == 4

    def _flattens(self, node: NodeProto) -> bool:
        """Say whether only positions of size one are dropped."""
        before, after = self._shapes.get(node.input[0], ()), self._shapes.get(node.output[0], ())
        return len(before) == 4 and before[2:] == (1, 1) and len(after) in (2, 4) and before[1] == after[1]


def _factors(ranges: Factors, reads: list[Factors]) -> Factors:
    """Return powers of two that even out a tensor's channels against the weights that read them."""
    alive = ranges > ranges.max() * 2.0**-LIMIT
    wanted = np.where(alive, ranges, 1.0).astype(np.float64)
    if reads:
        weights = np.maximum.reduce([read / max(float(read.max()), 1e-30) for read in reads])
        wanted = np.sqrt(wanted / np.maximum(weights, 2.0**-LIMIT))
    if alive.any():
        wanted /= np.exp(np.log(wanted[alive]).mean())
    exponents = np.where(alive, np.clip(np.rint(np.log2(wanted)), -LIMIT, LIMIT), 0)
    return np.exp2(exponents).astype(np.float32)


def _divide(node: NodeProto, factors: Factors, tensors: dict[str, onnx.TensorProto]) -> None:
    weights = numpy_helper.to_array(tensors[node.input[1]])
    axis = _output_axis(node)
    _store(tensors[node.input[1]], weights / _along(factors, axis, weights.ndim))
    if len(node.input) > 2 and node.input[2]:
        _store(tensors[node.input[2]], numpy_helper.to_array(tensors[node.input[2]]) / factors)


def _multiply(node: NodeProto, factors: Factors, tensors: dict[str, onnx.TensorProto]) -> None:
    weights = numpy_helper.to_array(tensors[node.input[1]])
    axis = 0 if _depthwise(node, tensors) else 1 - _output_axis(node)
    _store(tensors[node.input[1]], weights * _along(factors, axis, weights.ndim))


def _input_range(node: NodeProto, tensors: dict[str, onnx.TensorProto]) -> Factors:
    """Return the largest weight that reads each input channel."""
    weights = np.abs(numpy_helper.to_array(tensors[node.input[1]]))
    axis = 1 - _output_axis(node)
    return np.asarray(weights.max(axis=tuple(at for at in range(weights.ndim) if at != axis)), np.float32)


def _output_axis(node: NodeProto) -> int:
    """Return which axis of the weights counts output channels."""
    turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if node.op_type == "Conv" or turned else 1


def _along(factors: Factors, axis: int, rank: int) -> Factors:
    return factors.reshape([-1 if at == axis else 1 for at in range(rank)])


def _store(tensor: onnx.TensorProto, values: NDArray[np.floating]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(values, np.float32), tensor.name))


def _groups_of(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _depthwise(node: NodeProto, tensors: dict[str, onnx.TensorProto]) -> bool:
    return node.op_type == "Conv" and _groups_of(node) > 1 and tensors[node.input[1]].dims[1] == 1


def _plain_or_depthwise(node: NodeProto, weights: onnx.TensorProto) -> bool:
    n_groups = _groups_of(node)
    return n_groups == 1 or (weights.dims[1] == 1 and weights.dims[0] == n_groups)


def _observed(group: Group, model: ModelProto) -> list[str]:
    """Return the tensors whose ranges count: those that are read by layers, additions or pools."""
    read = {
        name for node in model.graph.node if node.op_type not in ("Relu", "Clip", "LeakyRelu") for name in node.input
    }
    return sorted(group.tensors & read)


def _shapes(model: ModelProto) -> dict[str, tuple[int | None, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model)
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim
        )
        for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    }


def _ranks(model: ModelProto) -> dict[str, int]:
    return {name: len(shape) for name, shape in _shapes(model).items()}
