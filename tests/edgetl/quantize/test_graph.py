from __future__ import annotations

import onnx
import pytest

from edgetl.errors import QuantizeError
from edgetl.quantize import graph


def test_normalisation_nodes_end_at_the_first_layer(conv_net):
    assert graph.normalisation_nodes(graph.load(conv_net)) == ("cast", "transpose", "sub", "mul")


def test_layers_are_convolutions_and_products_with_constant_weights(conv_net):
    assert graph.layers(graph.load(conv_net)) == ("stem_conv", "depth_conv", "project_conv", "head")


def test_layers_left_float_are_all_layers_of_a_float_model(conv_net):
    proto = graph.load(conv_net)
    assert graph.layers_left_float(proto) == graph.layers(proto)


def test_residual_adds_leave_out_additions_of_constants(conv_net):
    proto = graph.load(conv_net)
    proto.graph.node.append(onnx.helper.make_node("Add", ["out", "zero"], ["shifted"], "constant_add"))
    assert graph.residual_adds(proto) == ("residual_add",)


def test_load_names_nameless_nodes_uniquely(conv_net):
    proto = onnx.load_from_string(conv_net)
    for node in proto.graph.node[4:]:
        node.name = ""
    proto.graph.node[0].name = "Conv_4"
    names = [node.name for node in graph.load(proto.SerializeToString()).graph.node]
    assert len(set(names)) == len(names)
    assert all(names)


def test_to_bytes_is_the_same_for_any_order_of_nodes_and_constants(conv_net):
    proto = graph.load(conv_net)
    mixed = graph.load(conv_net)
    for field in ("node", "initializer"):
        items = list(getattr(mixed.graph, field))
        mixed.graph.ClearField(field)
        getattr(mixed.graph, field).extend(reversed(items))
    assert graph.to_bytes(mixed) == graph.to_bytes(proto)


def test_to_bytes_drops_what_no_output_needs(conv_net):
    proto = graph.load(conv_net)
    expected = graph.to_bytes(proto)
    proto.graph.node.append(onnx.helper.make_node("Relu", ["out"], ["unused"], "unused"))
    proto.graph.initializer.append(onnx.helper.make_tensor("unused_constant", 1, [1], [1.0]))
    proto.metadata_props.add(key="note", value="x")
    assert graph.to_bytes(proto) == expected


def test_to_bytes_refuses_an_invalid_graph(conv_net):
    proto = graph.load(conv_net)
    proto.graph.node[5].op_type = "NoSuchOperator"
    with pytest.raises(QuantizeError, match="the quantized model must be valid ONNX"):
        graph.to_bytes(proto)


@pytest.mark.parametrize("data", [b"not a model", b""], ids=["text", "empty"])
def test_load_refuses_what_is_not_onnx(data):
    with pytest.raises(QuantizeError, match="the model must be an ONNX model with one input"):
        graph.load(data)


def test_own_biases_separates_layers_that_share_a_constant(conv_net):
    proto = graph.load(conv_net)
    for node in proto.graph.node[4:9]:
        if node.op_type == "Conv":
            node.input[2] = "stem_b"
    biases = [node.input[2] for node in graph.own_biases(proto).graph.node if node.op_type == "Conv"]
    assert len(set(biases)) == 3
    constants = graph.initializers(proto)
    assert all((constants[name] == constants["stem_b"]).all() for name in biases)
    onnx.checker.check_model(proto)
