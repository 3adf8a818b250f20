import pytest
import torch

from edgetl import backbones
from edgetl.backbones.build import build, classifier, segments
from edgetl_runtime.errors import UsageError


def test_unknown_network_of_timm_names_the_nearest():
    with pytest.raises(UsageError, match="must be a network of timm; got 'timm/resnet10x'") as caught:
        backbones.get("timm/resnet10x")
    assert "'timm/resnet10t'" in caught.value.fix


@pytest.mark.parametrize("name", ["timm/", "timm/resnet10t.no_such_tag"])
def test_malformed_names_are_refused(name):
    with pytest.raises(UsageError, match="--backbone must be"):
        backbones.get(name)


def test_networks_without_one_linear_classifier_are_refused():
    with pytest.raises(UsageError, match="must be an RGB classifier with one linear layer"):
        backbones.get("timm/deit_tiny_distilled_patch16_224")


@pytest.mark.parametrize("name", ["timm/resnet10t", "timm/convnext_atto", "timm/efficientnet_lite0"])
def test_whole_segment_owns_everything_but_the_classifier(name):
    spec = backbones.get(name)
    model = build(spec, num_classes=3, weights=None).eval()
    head = classifier(model)
    ((label, module),) = segments(spec, model)
    assert label == "all"
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert (head(module(x)) - model(x)).abs().max() <= 1e-5
    owned = {id(p) for p in module.parameters()}
    outside = {n for n, p in model.named_parameters() if id(p) not in owned}
    assert outside == {f"{spec.head}.weight", f"{spec.head}.bias"}
