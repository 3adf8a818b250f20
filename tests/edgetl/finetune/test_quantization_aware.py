"""Quantization-aware training brings the rounded network nearer to the float one and leaves a plain float network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgetl.errors import QuantizeError
from edgetl.export.onnx import deployable
from edgetl.finetune.quantization_aware import RoundedInput, RoundedWeight, Schedule, adapt

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (96, 12, 12, 3), dtype=np.uint8)


@pytest.fixture
def network():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    with torch.no_grad():
        net[0].weight[0] *= 40  # a range that swallows the other channels once activations share one scale
        net[6].weight *= 8
    return net.eval()


def rounded(network, images, *, symmetric=False):
    """Return the logits of a network whose weights and inputs are rounded, ranges from the same images."""
    student = deployable(network, mean=MEAN, std=STD)
    hooks = []
    for layer in (m for m in student.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        with torch.no_grad():
            layer.weight.copy_(RoundedWeight()(layer.weight))
        hooks.append(RoundedInput(symmetric=symmetric))
        layer.register_forward_pre_hook(hooks[-1])
    with torch.no_grad():
        student(torch.from_numpy(images))
        for hook in hooks:
            hook.observing = False
        return student(torch.from_numpy(images))


def distance(network, teacher, images, *, symmetric):
    with torch.no_grad():
        wanted = functional.log_softmax(deployable(teacher, mean=MEAN, std=STD)(torch.from_numpy(images)), dim=1)
        got = functional.log_softmax(rounded(network, images, symmetric=symmetric), dim=1)
    return functional.kl_div(got, wanted, reduction="batchmean", log_target=True).item()


@pytest.mark.parametrize("symmetric", [False, True])
def test_adapt_brings_the_rounded_network_nearer_to_the_float_one_on_unseen_images(network, images, symmetric):
    seen, unseen = images[:64], images[64:]
    schedule = Schedule(images=1600, learning_rate=3e-4)
    taught = adapt(network, seen, mean=MEAN, std=STD, symmetric=symmetric, seed=0, schedule=schedule)
    before = distance(network, network, unseen, symmetric=symmetric)
    after = distance(taught, network, unseen, symmetric=symmetric)
    assert after < 0.7 * before


def test_adapt_returns_a_plain_float_network_and_leaves_the_one_given(network, images):
    given = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    taught = adapt(network, images, mean=MEAN, std=STD, symmetric=False, seed=0, schedule=Schedule(images=32))
    assert taught.state_dict().keys() == given.keys()
    assert all(torch.equal(network.state_dict()[name], given[name]) for name in given)
    assert not any(module._forward_pre_hooks for module in taught.modules())
    assert not torch.equal(taught.state_dict()["0.weight"], given["0.weight"])
    assert torch.equal(taught.state_dict()["1.running_mean"], given["1.running_mean"])


def test_adapt_gives_the_same_weights_for_the_same_seed_and_says_how_far_it_is(network, images):
    told = []
    taught = [
        adapt(
            network,
            images,
            mean=MEAN,
            std=STD,
            symmetric=False,
            seed=3,
            schedule=Schedule(images=64),
            progress=lambda *at: told.append(at),
        )
        for _ in range(2)
    ]
    first, second = (t.state_dict() for t in taught)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert told[:4] == [(16, 64), (32, 64), (48, 64), (64, 64)]


def test_adapt_says_so_when_the_training_diverges(network, images):
    with torch.no_grad():
        network[6].bias[0] = torch.inf
    with pytest.raises(QuantizeError, match="finite"):
        adapt(network, images, mean=MEAN, std=STD, symmetric=False, seed=0, schedule=Schedule(images=64))
