from __future__ import annotations

from edgetl.quantize import graph
from edgetl.quantize.algorithms import symmetric_qdq

NORMALISATION = ("cast", "transpose", "sub", "mul")


def test_quantize_puts_pairs_in_front_of_layers_and_additions_only(conv_net, conv_net_images):
    made = symmetric_qdq.quantize(
        conv_net, conv_net_images, parameters=symmetric_qdq.Parameters(), exclude=NORMALISATION
    )
    proto = graph.load(made)
    quantized = {node.input[0] for node in proto.graph.node if node.op_type == "QuantizeLinear"}
    assert quantized == {"normal", "stem_act", "depth_act", "projected", "features"}
    assert [node.op_type for node in proto.graph.node].count("Clip") == 2


def test_quantize_leaves_an_excluded_layer_and_its_input_in_float(conv_net, conv_net_images):
    exclude = (*NORMALISATION, "head")
    made = symmetric_qdq.quantize(conv_net, conv_net_images, parameters=symmetric_qdq.Parameters(), exclude=exclude)
    assert graph.layers_left_float(graph.load(made)) == ("head",)
