"""The form that TensorRT takes from 10.3 to 11.x, as rules with names; a graph is read, nothing is run.

The parser refuses some of these outright, others only cost speed or accuracy on the device and would never be seen.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from edgetl.quantize import graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

LARGEST_F16 = float(np.finfo(np.float16).max)
# the axis of a layer's weights along which its outputs are numbered
_CONV_AXIS, _MATMUL_AXIS = 0, 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place that breaks a rule.

    Attributes:
        rule: Name of the rule.
        node: Name of the node.
        words: What is wrong there.
    """

    rule: str
    node: str
    words: str

    def __str__(self) -> str:
        return f"{self.rule}: node '{self.node}' {self.words}"


class Graph:
    """A model with what the rules ask for again and again."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.nodes = model.graph.node
        self.values = graph.initializers(model)
        self.producers = graph.producer_of(model)
        self.layers = set(graph.layers(model))

    def of(self, *operators: str) -> Iterator[NodeProto]:
        """Yield the nodes of some operators."""
        return (node for node in self.nodes if node.op_type in operators)

    def array(self, node: NodeProto, place: int) -> NDArray[Any] | None:
        """Return a constant input; None where it is absent or computed."""
        return self.values.get(node.input[place]) if len(node.input) > place else None

    def from_dequantized(self, name: str) -> bool:
        """Whether a tensor comes from a DequantizeLinear, past operators that only move values."""
        node = self.producers.get(name)
        while node is not None and node.op_type in graph.TRANSPARENT_OPS:
            node = self.producers.get(node.input[0])
        return node is not None and node.op_type == "DequantizeLinear"

    @property
    def quantized(self) -> bool:
        """Whether there are Q/DQ nodes at all."""
        return any(True for _ in self.of("DequantizeLinear"))


def check(model: ModelProto) -> tuple[Finding, ...]:
    """Hold a graph against every rule.

    Returns:
        The findings, by rule and in the order of the graph; empty if the graph has the form.

    Example:
        >>> sorted(RULES)[:3]
        ['activation-per-tensor', 'bias-float', 'float16-range']
    """
    seen = Graph(model)
    return tuple(finding for rule in RULES.values() for finding in rule(seen))


def _zero_point(seen: Graph) -> Iterator[Finding]:
    """Zero points are 0: the parser takes no others."""
    for node in seen.of("QuantizeLinear", "DequantizeLinear"):
        zero = seen.array(node, 2)
        if zero is not None and np.any(zero):
            worst = int(np.asarray(zero).ravel()[np.abs(zero.astype(np.int64)).argmax()])
            yield Finding(rule="zero-point", node=node.name, words=f"has the zero point {worst}, it must be 0")


def _signed_int8(seen: Graph) -> Iterator[Finding]:
    """Quantized values are signed: int8 of activations and weights."""
    for node in seen.of("QuantizeLinear", "DequantizeLinear"):
        zero, weight = seen.array(node, 2), seen.array(node, 0)
        if weight is not None and weight.dtype == np.int32:
            continue  # a bias, which has a rule of its own
        kinds = {array.dtype.name for array in (zero, weight if node.op_type == "DequantizeLinear" else None)
                 if array is not None}  # fmt: skip
        kinds |= {"uint8"} if zero is None and node.op_type == "QuantizeLinear" else set()  # what ONNX takes by default
        if kinds - {"int8"}:
            wrong = ", ".join(sorted(kinds - {"int8"}))
            yield Finding(rule="signed-int8", node=node.name, words=f"is of {wrong}, it must be of int8")


def _scale(seen: Graph) -> Iterator[Finding]:
    """Scales are constant, finite and above 0."""
    for node in seen.of("QuantizeLinear", "DequantizeLinear"):
        scale = seen.array(node, 1)
        if scale is None:
            yield Finding(rule="scale", node=node.name, words="has a computed scale, it must be constant")
        elif not (np.isfinite(scale).all() and (scale > 0).all()):
            yield Finding(rule="scale", node=node.name, words="has a scale that is not finite and above 0")


def _activation_per_tensor(seen: Graph) -> Iterator[Finding]:
    """Activations have one scale."""
    for node in seen.of("QuantizeLinear", "DequantizeLinear"):
        scale = seen.array(node, 1)
        if node.input[0] not in seen.values and scale is not None and scale.size > 1:
            words = f"has {scale.size} scales of an activation, it must have one"
            yield Finding(rule="activation-per-tensor", node=node.name, words=words)


def _weight_per_channel(seen: Graph) -> Iterator[Finding]:
    """Weights have one scale for each output channel."""
    for node in seen.of(*graph.LAYER_OPS):
        made = seen.producers.get(node.input[1]) if node.name in seen.layers else None
        weight = seen.array(made, 0) if made is not None and made.op_type == "DequantizeLinear" else None
        scale = seen.array(made, 1) if made is not None else None
        if made is None or weight is None or scale is None:
            continue
        axis = _output_axis(node)
        channels = weight.shape[axis]
        said = next((a.i for a in made.attribute if a.name == "axis"), 1) % weight.ndim
        if channels > 1 and (scale.size != channels or said != axis):
            got = f"{scale.size} scales along axis {said}" if scale.size > 1 else "one scale"
            words = f"has {got} of its weights, it must have {channels} along axis {axis}"
            yield Finding(rule="weight-per-channel", node=node.name, words=words)


def _output_axis(node: NodeProto) -> int:
    transposed = next((a.i for a in node.attribute if a.name == "transB"), 0)
    matrix = node.op_type == "MatMul" or (node.op_type == "Gemm" and not transposed)
    return _MATMUL_AXIS if matrix or node.op_type == "ConvTranspose" else _CONV_AXIS


def _bias_float(seen: Graph) -> Iterator[Finding]:
    """Biases are float: the engine rounds them itself."""
    for node in seen.of(*graph.LAYER_OPS):
        if len(node.input) > 2 and seen.from_dequantized(node.input[2]):
            yield Finding(rule="bias-float", node=node.name, words="has a quantized bias, it must be float")


def _residual_both(seen: Graph) -> Iterator[Finding]:
    """Both inputs of a residual addition are quantized or none: one alone keeps the convolution before it in float."""
    additions = set(graph.residual_adds(seen.model)) if seen.quantized else set()
    for node in seen.of("Add"):
        if node.name in additions and len({seen.from_dequantized(name) for name in node.input}) > 1:
            yield Finding(rule="residual-both", node=node.name, words="has Q/DQ on one input, it must have it on both")


def _uint8_cast(seen: Graph) -> Iterator[Finding]:
    """Nothing but a Cast computes with the uint8 pixels: other operators on uint8 are refused."""
    pixels = {
        value.name for value in seen.model.graph.input if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }
    for node in seen.nodes:
        if node.op_type not in ("Cast", "Shape") and pixels & set(node.input):
            words = f"is a {node.op_type} of uint8 pixels, a Cast must come first"
            yield Finding(rule="uint8-cast", node=node.name, words=words)


def _float16_range(seen: Graph) -> Iterator[Finding]:
    """Constants of float16 are finite and, but for exact zeros, did not vanish."""
    for node in seen.nodes:
        for name in node.input:
            value = seen.values.get(name)
            if value is not None and value.dtype == np.float16 and not np.isfinite(value).all():
                words = f"reads '{name}', which is beyond {LARGEST_F16:.0f}, the largest of float16"
                yield Finding(rule="float16-range", node=node.name, words=words)


def _one_type(seen: Graph) -> Iterator[Finding]:
    """The constants of one node have one float type: a strongly typed network converts nothing by itself."""
    for node in seen.nodes:
        if node.op_type in ("Resize", "Cast"):  # their constants are parameters, not operands
            continue
        kinds = {seen.values[name].dtype.name for name in node.input if name in seen.values}
        floats = sorted(kinds & {"float16", "float32", "float64"})
        if len(floats) > 1:
            words = f"mixes {' and '.join(floats)}, a Cast must stand between"
            yield Finding(rule="one-type", node=node.name, words=words)


RULES: dict[str, Callable[[Graph], Iterator[Finding]]] = {
    "zero-point": _zero_point,
    "signed-int8": _signed_int8,
    "scale": _scale,
    "activation-per-tensor": _activation_per_tensor,
    "weight-per-channel": _weight_per_channel,
    "bias-float": _bias_float,
    "residual-both": _residual_both,
    "uint8-cast": _uint8_cast,
    "float16-range": _float16_range,
    "one-type": _one_type,
}
