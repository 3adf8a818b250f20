"""Reading ONNX graphs for quantization: what is normalisation, a layer, left in float; and a canonical form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, NodeProto, numpy_helper

from edgetl.errors import QuantizeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

LAYER_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # operators that carry weights worth quantizing
NORMALISATION_OPS = ("Cast", "Transpose", "Sub", "Mul", "Div", "Add")
# between a DequantizeLinear and a layer these keep the layer integer: engines move the scale past them
MOVING_OPS = ("Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Gather")
TRANSPARENT_OPS = (*MOVING_OPS, "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean")


def load(model: bytes) -> ModelProto:
    """Parse a model; every node gets a name, so that it can be excluded and ranked.

    Raises:
        QuantizeError: The bytes are not an ONNX model with nodes and exactly one input.
    """
    try:
        proto = onnx.load_from_string(model)
    except DecodeError as error:
        raise _not_onnx("bytes that do not parse") from error
    if not proto.graph.node or len(proto.graph.input) != 1:
        raise _not_onnx(f"{len(proto.graph.node)} nodes and {len(proto.graph.input)} inputs")
    taken = {node.name for node in proto.graph.node}
    for position, node in enumerate(proto.graph.node):
        if not node.name:
            node.name = _free_name(f"{node.op_type}_{position}", taken)
    return proto


def _not_onnx(got: str) -> QuantizeError:
    return QuantizeError("the model", "an ONNX model with one input", got, fix="export it again")


def _free_name(wish: str, taken: set[str]) -> str:
    while wish in taken:
        wish += "_"
    taken.add(wish)
    return wish


def normalisation_nodes(model: ModelProto) -> tuple[str, ...]:
    """Return the names of the nodes from the input to the first layer that only cast, permute, shift and scale."""
    constants = constant_names(model)
    names: list[str] = []
    reached = {model.graph.input[0].name}
    for node in model.graph.node:
        variable = [name for name in node.input if name and name not in constants]
        if node.op_type in NORMALISATION_OPS and variable and all(name in reached for name in variable):
            names.append(node.name)
            reached.update(node.output)
    return tuple(names)


def constant_names(model: ModelProto) -> frozenset[str]:
    """Return the names of initializers and of the outputs of Constant nodes."""
    names = {tensor.name for tensor in model.graph.initializer}
    names.update(output for node in model.graph.node if node.op_type == "Constant" for output in node.output)
    return frozenset(names)


def layers(model: ModelProto) -> tuple[str, ...]:
    """Return the names of the convolutions and matrix products with constant weights, quantized or not."""
    producers = producer_of(model)
    constants = constant_names(model)
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type in LAYER_OPS and _is_weight(node.input[1], producers=producers, constants=constants)
    )


def layers_left_float(model: ModelProto) -> tuple[str, ...]:
    """Return those layers whose weights or whose data input do not come from a DequantizeLinear."""
    producers = producer_of(model)
    named = set(layers(model))
    return tuple(
        node.name
        for node in model.graph.node
        if node.name in named and not all(_is_dequantized(name, producers) for name in node.input[:2])
    )


def own_biases(model: ModelProto) -> ModelProto:
    """Give every layer a bias of its own, in place; exporters merge equal constants, mostly the zero ones."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    seen: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in LAYER_OPS or len(node.input) < 3 or node.input[2] not in tensors:
            continue
        shared = node.input[2]
        if shared in seen:
            copy = model.graph.initializer.add()
            copy.CopyFrom(tensors[shared])
            copy.name = node.input[2] = _free_name(f"{node.name}/bias", seen | tensors.keys())
        seen.add(shared)
    return model


def count(model: ModelProto, op_type: str) -> int:
    """Return how many nodes of one operator the graph holds."""
    return sum(node.op_type == op_type for node in model.graph.node)


def producer_of(model: ModelProto) -> dict[str, NodeProto]:
    """Return the node that makes each tensor."""
    return {output: node for node in model.graph.node for output in node.output if output}


def residual_adds(model: ModelProto) -> tuple[str, ...]:
    """Return the names of additions of two computed tensors; additions of constants are not among them."""
    constants = constant_names(model)
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type == "Add" and not any(name in constants for name in node.input)
    )


def initializers(model: ModelProto) -> dict[str, NDArray[Any]]:
    """Return the constant tensors by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def to_bytes(model: ModelProto) -> bytes:
    """Serialise in a canonical form, so that equal graphs are equal bytes.

    Quantizers keep nodes in the order of hash tables; the order here follows from the graph alone: depth first from
    the outputs. Unused constants, inferred shapes and the libraries' notes are left out.

    Raises:
        QuantizeError: The result is not a valid ONNX model.
    """
    canonical = ModelProto()
    canonical.CopyFrom(model)
    nodes = in_order(model)
    used = {name for node in nodes for name in node.input} | {output.name for output in model.graph.output}
    graph = canonical.graph
    for field in ("node", "initializer", "value_info", "metadata_props", "quantization_annotation"):
        graph.ClearField(field)
    for node in nodes:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        graph.node.append(node)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    graph.initializer.extend(sorted(kept, key=lambda tensor: tensor.name))
    for note in ("metadata_props", "doc_string", "producer_name", "producer_version"):
        canonical.ClearField(note)
    for value in (*graph.input, *graph.output):
        value.ClearField("metadata_props")
    _drop_unused_domains(canonical)
    try:
        onnx.checker.check_model(canonical)
    except onnx.checker.ValidationError as error:
        raise QuantizeError("the quantized model", "valid ONNX", str(error)[:200], fix="use another recipe") from error
    return bytes(canonical.SerializeToString(deterministic=True))


def _drop_unused_domains(model: ModelProto) -> None:
    used = {node.domain for node in model.graph.node} | {""}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    model.ClearField("opset_import")
    model.opset_import.extend(kept)


def in_order(model: ModelProto) -> list[NodeProto]:
    """Sort the nodes that reach an output, depth first, inputs before consumers."""
    producers = producer_of(model)
    done: set[int] = set()
    order: list[NodeProto] = []
    stack = [(name, False) for name in reversed([output.name for output in model.graph.output])]
    while stack:
        name, expanded = stack.pop()
        node = producers.get(name)
        if node is None or id(node) in done:
            continue
        if expanded:
            done.add(id(node))
            order.append(node)
            continue
        stack.append((name, True))
        stack.extend((needed, False) for needed in reversed(_needs(node)))
    return order


def _needs(node: NodeProto) -> list[str]:
    """Return a node's inputs, with those that its subgraphs capture."""
    subgraphs = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    captured = [name for subgraph in subgraphs for inner in subgraph.node for name in inner.input]
    return [name for name in (*node.input, *captured) if name]


def _is_weight(name: str, *, producers: Mapping[str, NodeProto], constants: Iterable[str]) -> bool:
    node = producers.get(name)
    while node is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear", "Cast", "Identity", "Transpose"):
        name = node.input[0]
        node = producers.get(name)
    return name in constants


def _is_dequantized(name: str, producers: Mapping[str, NodeProto]) -> bool:
    node = producers.get(name)
    while node is not None and node.op_type in TRANSPARENT_OPS:
        node = producers.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"
