"""Mixed precision: put single layers of a quantized graph back into float, without quantizing it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import ModelProto, NodeProto

from edgetl.quantize import graph
from edgetl.quantize.saturation import SATURATING_OPS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Units = dict[str, tuple[str, ...]]


def units(quantized: ModelProto) -> Units:
    """Divide the quantized nodes among the layers.

    An operator that only moves or pools values between a Q/DQ pair and a layer goes with that layer; every other one,
    such as a residual addition, with the layer before it.

    Args:
        quantized: Nodes of its quantized part read from DequantizeLinear.

    Returns:
        Layer → names of its nodes, itself first; layers in the graph's order. Nodes before every layer are left out.
    """
    producers = graph.producer_of(quantized)
    named = set(graph.layers(quantized))
    consumers = {name: node for node in reversed(graph.in_order(quantized)) for name in node.input}
    found: dict[str, list[str]] = {}
    unit_of: dict[str, str] = {}
    for node in graph.in_order(quantized):
        unit = node.name if node.name in named else _layer_behind(node, consumers, named) or _unit_before(node, unit_of)
        if unit is None:
            continue
        unit_of.update(dict.fromkeys(node.output, unit))
        reads = any(_is_from(producers.get(name), "DequantizeLinear") for name in node.input)
        if node.name in named or (reads and node.op_type not in ("QuantizeLinear", "DequantizeLinear")):
            found.setdefault(unit, []).append(node.name)
    ordered = [node.name for node in graph.in_order(quantized) if node.name in named and node.name in found]
    return {unit: (unit, *(name for name in found[unit] if name != unit)) for unit in ordered}


def _layer_behind(node: NodeProto, consumers: Mapping[str, NodeProto], named: Collection[str]) -> str | None:
    """Return the layer that a moving or pooling operator leads to, without a Q/DQ pair in between."""
    following: NodeProto | None = node
    while following is not None and following.op_type in graph.TRANSPARENT_OPS:
        following = consumers.get(following.output[0])
    return following.name if following is not None and following.name in named else None


def restore(quantized: ModelProto, original: ModelProto, nodes: Collection[str]) -> ModelProto:
    """Return the quantized model with the named nodes computing in float, as in the original.

    Their data comes from before the Q/DQ pair, their weights, bias and attributes from the original model. Pairs that
    nothing reads any more vanish when the graph is written. An activation that the quantizer left to the saturation
    of a pair comes back where the pair is passed by.

    Args:
        quantized: Not changed.
        original: The float model that it was made from: nodes of the same names.
        nodes: Names; those that are not quantized are left as they are.
    """
    made = ModelProto()
    made.CopyFrom(quantized)
    producers = graph.producer_of(made)
    floats = {node.name: node for node in original.graph.node}
    constants = _Constants(made, original)
    activations = _Activations(made, original, constants)
    for node in list(made.graph.node):
        if node.name not in nodes or node.name not in floats:
            continue
        before = floats[node.name]
        for place, name in enumerate(before.input):
            if name in constants:
                node.input[place] = constants.original(name)
            else:
                node.input[place] = activations.applied(_source(node.input[place], producers), name)
        node.ClearField("attribute")
        node.attribute.extend(before.attribute)
    return made


class _Constants:
    """Brings the original's constants back under names of their own: the quantizer may have changed those it kept."""

    def __init__(self, made: ModelProto, original: ModelProto) -> None:
        self._graph = made.graph
        self._tensors = {tensor.name: tensor for tensor in original.graph.initializer}
        self._back: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def original(self, name: str) -> str:
        """Return the name under which the quantized model holds the original constant."""
        again = f"{name}/float"
        if name not in self._back:
            self._graph.initializer.append(self._tensors[name])
            self._graph.initializer[-1].name = again
            self._back.add(name)
        return again


class _Activations:
    """Puts back activations that a quantizer took out because its Q/DQ pair saturates in the same way."""

    def __init__(self, made: ModelProto, original: ModelProto, constants: _Constants) -> None:
        self._graph = made.graph
        self._before = graph.producer_of(original)
        self._names = {node.name for node in made.graph.node}
        self._constants = constants

    def applied(self, tensor: str, name: str) -> str:
        """Return `tensor`, or the output of the activation that made `name` in the original, where it is gone."""
        node = self._before.get(name)
        if node is None or node.name in self._names or node.op_type not in SATURATING_OPS:
            return tensor
        output = f"{name}/float"
        if f"{node.name}/float" not in self._names:
            again = self._graph.node.add()
            again.CopyFrom(node)
            again.name = f"{node.name}/float"
            again.input[0], again.output[0] = tensor, output
            for place, key in enumerate(node.input[1:], start=1):
                again.input[place] = self._constants.original(key) if key in self._constants else key
            self._names.add(again.name)
        return output


def _source(name: str, producers: Mapping[str, NodeProto]) -> str:
    """Return the tensor in front of a Q/DQ pair; the name itself where there is none."""
    dequantize = producers.get(name)
    quantize = producers.get(dequantize.input[0]) if _is_from(dequantize, "DequantizeLinear") and dequantize else None
    return quantize.input[0] if quantize is not None and quantize.op_type == "QuantizeLinear" else name


def _is_from(node: NodeProto | None, op_type: str) -> bool:
    return node is not None and node.op_type == op_type


def _unit_before(node: NodeProto, unit_of: Mapping[str, str]) -> str | None:
    return next((unit_of[name] for name in node.input if name in unit_of), None)
