"""Channels are scaled to comparable ranges; the network's answers do not change."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgetl.quantize import equalise, graph, observe, recipe


def names(nodes):
    return sorted(node.name for node in nodes)


def test_groups_follow_the_stream_the_activations_and_the_gate(stream_net):
    free = [g for g in equalise.groups(graph.load(stream_net())) if not g.fixed and g.writers and g.readers]
    found = [(names(g.writers), names(g.readers)) for g in free]
    assert found == [
        (["project", "stem"], ["expand", "head"]),
        (["expand"], ["depth"]),
        (["depth"], ["gate_conv", "project"]),
    ]


def test_groups_behind_a_clip_are_fixed(conv_net):
    assert all(g.fixed or not g.writers or not g.readers for g in equalise.groups(graph.load(conv_net)))
    assert equalise.equalise(graph.load(conv_net), np.zeros((1, 24, 24, 3), np.uint8)) == 0


@pytest.mark.parametrize("spread", [0, 4])
def test_equalise_changes_no_bit_of_the_answers(spread, stream_net, stream_images):
    proto = graph.load(stream_net(spread=spread))
    before = observe.logits(proto, stream_images)
    assert equalise.equalise(proto, stream_images) == 3
    np.testing.assert_array_equal(observe.logits(proto, stream_images), before)


def test_equalise_evens_out_the_channels_of_a_hostile_stream(stream_net, stream_images):
    proto = graph.load(stream_net(spread=4))

    def unevenness():
        largest = observe.per_channel(proto, stream_images, ["sum"], statistic="largest")["sum"]
        return largest.max() / largest.min()

    before = unevenness()
    equalise.equalise(proto, stream_images)
    assert before > 50
    assert unevenness() < 8


def error(name, model, images, **changes):
    chosen = recipe.get(name)
    made = recipe.apply(chosen, model, images)
    gap = observe.logits(graph.load(made.model), images) - observe.logits(graph.load(model), images)
    return float(np.sqrt((gap**2).mean()))


def test_equalised_recipe_rescues_a_hostile_network(stream_net, stream_images):
    hostile = stream_net(spread=4)
    plain, equalised = (error(n, hostile, stream_images) for n in ("tensorrt-int8", "tensorrt-int8-equalised"))
    assert equalised < plain / 3


def test_shared_weights_are_left_alone(stream_net, stream_images):
    proto = graph.load(stream_net(spread=4))
    shared = next(node for node in proto.graph.node if node.name == "expand")
    again = proto.graph.node.add()
    again.CopyFrom(shared)
    again.name, again.output[0] = "expand_again", "unused"
    for group in equalise.groups(proto):
        if "stream" in group.tensors:
            assert group.fixed


def test_equalise_leaves_dead_channels_finite(stream_net, stream_images):
    proto = graph.load(stream_net())
    weights = next(tensor for tensor in proto.graph.initializer if tensor.name == "depth_w")
    values = numpy_helper.to_array(weights).copy()
    values[3] = 0
    weights.CopyFrom(numpy_helper.from_array(values, "depth_w"))
    before = observe.logits(proto, stream_images)
    equalise.equalise(proto, stream_images)
    np.testing.assert_array_equal(observe.logits(proto, stream_images), before)
    onnx.checker.check_model(proto)
