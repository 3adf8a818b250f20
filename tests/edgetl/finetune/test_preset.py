"""Presets: every file is read, and depth and epochs follow the data."""

from __future__ import annotations

import pytest

from edgetl.finetune.preset import Phase, preset_names, read_preset
from edgetl_runtime.errors import UsageError

PHASE = Phase(name="deep", depth=0.67, megapixels=100, epochs_min=2, epochs_max=9, learning_rate=1e-3)


@pytest.mark.parametrize("name", preset_names())
def test_preset_file_is_sound(name):
    preset = read_preset(name)
    assert preset.description
    assert [p.depth for p in preset.phases] == sorted(p.depth for p in preset.phases)
    for phase in preset.phases:
        assert 0 < phase.depth <= 1
        assert 1 <= phase.epochs_min <= phase.epochs_max
        assert 0 < phase.learning_rate < 0.01


def test_read_preset_names_the_nearest():
    assert {"fast", "balanced", "best"} <= set(preset_names())
    with pytest.raises(UsageError, match=r"got 'balancd'(?s:.)*'balanced'"):
        read_preset("balancd")


@pytest.mark.parametrize(("images", "epochs"), [(10, 9), (400, 5), (10_000, 2)])
def test_epochs_follow_the_budget_between_bounds(images, epochs):
    assert PHASE.epochs(images=images, pixels=50_000) == epochs


@pytest.mark.parametrize(
    ("images", "baseline", "depth"), [(100, 0.9, 0.34), (100, 0.5, 0.34), (1000, 0.9, 0.67), (1000, 0.5, 1.0)]
)
def test_depth_follows_data_size_and_distance(images, baseline, depth):
    assert PHASE.depth_for(images=images, baseline=baseline) == depth


def test_depth_is_that_of_the_data_for_pretrained_weights_and_the_phases_own_for_random_ones():
    few = {"images": 40, "baseline": 0.6}
    balanced, scratch = read_preset("balanced"), read_preset("scratch")
    assert balanced.depth_of(balanced.phases[1], **few) == balanced.phases[1].depth_for(**few) == 0.34
    assert scratch.depth_of(scratch.phases[0], **few) == 1.0
