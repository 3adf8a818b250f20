"""The frozen part computes what torch would, and devices are never swapped silently."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgetl import backbones
from edgetl.backbones.build import build, segments
from edgetl.finetune.engine import FrozenTrunk, autocast, pick_device
from edgetl_runtime.errors import UsageError

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    spec = backbones.get("mobilenetv3_small_100")
    return spec, build(spec, num_classes=2, weights=None, image_px=64).eval()


def normalised(spec):
    pixels = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(spec.mean).view(3, 1, 1)) / torch.tensor(spec.std).view(3, 1, 1)


@pytest.mark.parametrize("depth", [3, None])
def test_trunk_equals_torch(network, depth):
    spec, model = network
    modules = [module for _, module in segments(spec, model)][:depth]
    trunk = FrozenTrunk(modules, mean=spec.mean, std=spec.std, size_px=(64, 64), device=CPU)
    with torch.no_grad():
        expected = torch.nn.Sequential(*modules)(normalised(spec))
    found = trunk(IMAGES)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-4
    torch.testing.assert_close(trunk(IMAGES[:1]), found[:1], atol=1e-5, rtol=1e-4)


def test_trunk_without_segments_is_the_normalisation(network):
    spec, _ = network
    trunk = FrozenTrunk([], mean=spec.mean, std=spec.std, size_px=(64, 64), device=CPU)
    torch.testing.assert_close(trunk(IMAGES), normalised(spec), atol=1e-5, rtol=1e-5)


def test_result_of_a_trunk_is_not_overwritten_by_the_next_call(network):
    spec, model = network
    modules = [module for _, module in segments(spec, model)][:1]
    trunk = FrozenTrunk(modules, mean=spec.mean, std=spec.std, size_px=(64, 64), device=CPU)
    first = trunk(IMAGES[:1])
    kept = first.clone()
    trunk(IMAGES[1:2])
    assert torch.equal(first, kept)


def test_pick_device_never_falls_back_silently(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(UsageError, match="--device cuda must be a usable CUDA device; got none"):
        pick_device("cuda")


def test_autocast_is_bf16_only_where_the_cpu_computes_in_it():
    from edgetl_runtime.probe import facts

    cast = autocast(CPU)
    assert cast._enabled == bool({"avx512_bf16", "amx_bf16"} & set(facts().cpu_flags))
