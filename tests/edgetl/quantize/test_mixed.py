"""Layers put back into float compute what the float model does; all others stay quantized."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.quantize import graph, mixed, observe, recipe

RECIPES = [f"{backend}-int8" for backend in ("onnxruntime", "openvino", "tensorrt")]


@pytest.fixture(scope="module", params=RECIPES)
def quantized(request, conv_net, conv_net_images):
    return graph.load(recipe.apply(recipe.get(request.param), conv_net, conv_net_images[:16]).model)


def test_units_are_the_layers_with_what_follows_them(quantized):
    units = mixed.units(quantized)
    assert list(units) == ["stem_conv", "depth_conv", "project_conv", "head"]
    assert all(nodes[0] == layer for layer, nodes in units.items())
    assert "residual_add" in units["project_conv"]


def test_restoring_every_unit_gives_the_float_model_back(quantized, conv_net, conv_net_images):
    everything = [name for nodes in mixed.units(quantized).values() for name in nodes]
    restored = graph.load(graph.to_bytes(mixed.restore(quantized, graph.load(conv_net), everything)))
    assert graph.count(restored, "QuantizeLinear") == 0
    expected = observe.logits(graph.load(conv_net), conv_net_images)
    np.testing.assert_array_equal(observe.logits(restored, conv_net_images), expected)


@pytest.mark.parametrize("layer", ["stem_conv", "depth_conv", "project_conv", "head"])
def test_restoring_one_unit_leaves_exactly_its_layer_in_float(layer, quantized, conv_net, conv_net_images):
    before = graph.layers_left_float(quantized)
    nodes = mixed.units(quantized)[layer]
    restored = graph.load(graph.to_bytes(mixed.restore(quantized, graph.load(conv_net), nodes)))
    assert set(graph.layers_left_float(restored)) == {layer, *before}
    expected = observe.logits(graph.load(conv_net), conv_net_images)
    gap = np.abs(observe.logits(restored, conv_net_images) - expected).max()
    assert gap < 0.5 * np.abs(expected).max()


def test_restore_does_not_touch_its_arguments(quantized, conv_net):
    original = graph.load(conv_net)
    before = quantized.SerializeToString(deterministic=True), original.SerializeToString(deterministic=True)
    mixed.restore(quantized, original, ["stem_conv"])
    after = quantized.SerializeToString(deterministic=True), original.SerializeToString(deterministic=True)
    assert after == before
