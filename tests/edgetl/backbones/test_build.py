import pytest
import torch

from edgetl import backbones
from edgetl.backbones.build import build, classifier, segments
from edgetl_runtime.errors import UsageError


def test_build_refuses_one_class():
    with pytest.raises(UsageError, match="num_classes must be at least 2; got 1"):
        build(backbones.get("resnet18"), num_classes=1, weights=None)


def test_build_carries_the_arguments_that_belong_to_the_weights():
    model = build(backbones.get("mobilenetv2_100_tf"), num_classes=2, weights=None)
    assert model.bn1.eps == 1e-3
    assert type(model.conv_stem).__name__ == "Conv2dSame"


def test_build_gives_the_same_weights_for_the_same_seed():
    spec = backbones.get("mobilenetv4_conv_small")
    built = []
    for _ in range(2):
        torch.manual_seed(5)
        built.append(build(spec, num_classes=2, weights=None).state_dict())
    assert all(torch.equal(built[0][k], built[1][k]) for k in built[0])


def test_freezing_a_segment_freezes_that_part_of_the_network():
    spec = backbones.get("mobilenetv3_small_100")
    model = build(spec, num_classes=2, weights=None)
    parts = segments(spec, model)
    for _, module in parts[:3]:
        module.requires_grad_(False)
    frozen = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in model.named_parameters() if not p.requires_grad
    }
    assert frozen == {"conv_stem.weight", "bn1.weight", "bn1.bias", "blocks.0", "blocks.1"}


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "resnet18"])
def test_segments_apply_the_networks_dropout_in_training_only(name):
    spec = backbones.get(name)
    model = build(spec, num_classes=2, weights=None, drop_rate=0.5, image_px=64)
    parts = segments(spec, model)
    model.eval()  # after dividing: the segments follow the network's mode
    last = parts[-1][1]
    x = torch.randn(4, 3, 64, 64)
    with torch.inference_mode():
        for _, module in parts[:-1]:
            x = module(x)
        kept = last(x)
        model.train()
        dropped = last(x)
    assert (kept == 0).float().mean() < 0.45 < (dropped == 0).float().mean()
    assert classifier(model).in_features == kept.shape[1]
