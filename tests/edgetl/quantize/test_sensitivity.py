from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgetl.quantize import graph, observe, recipe, sensitivity


def infer(model, images):
    return observe.logits(graph.load(model), images)


@pytest.fixture(scope="module")
def ranked(stream_net, stream_images):
    hostile = stream_net(spread=5)
    made = recipe.apply(recipe.get("tensorrt-int8"), hostile, stream_images)
    return sensitivity.rank(made.model, hostile, stream_images[:8], infer)


def test_rank_holds_every_layer_once_and_the_worthwhile_first(ranked):
    assert sorted(found.layer for found in ranked) == ["depth", "expand", "gate_conv", "head", "project", "stem"]
    worths = [sensitivity.worth(found) for found in ranked]
    assert worths == sorted(worths, reverse=True)
    assert all(0 <= found.decisions <= 1 and found.damage > 0 for found in ranked)


def test_rank_sees_that_a_reader_of_a_hostile_stream_hurts_and_its_writer_does_not(ranked):
    damage = {found.layer: found.damage for found in ranked}
    assert damage["expand"] > 100 * damage["stem"]


def test_worth_is_error_power_over_time(ranked):
    found = dataclasses.replace(ranked[0], damage=0.3, time_share=0.1)
    assert sensitivity.worth(found) == pytest.approx(0.9)
    assert np.isfinite(sensitivity.worth(dataclasses.replace(found, time_share=0.0)))


def test_time_shares_add_up_and_name_the_nodes(stream_net, stream_images):
    shares = sensitivity.time_shares(graph.load(stream_net()), stream_images[:2])
    assert sum(shares.values()) == pytest.approx(1)
    assert {"stem", "expand", "project"} <= set(shares)
