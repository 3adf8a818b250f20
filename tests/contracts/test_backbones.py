"""What every backbone of the catalogue must do; a new entry is found here by itself.

`make test` exports those that `conftest.py` names, `make test-catalogue` (EDGETL_CATALOGUE=1) all of them.
"""

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from edgetl import backbones
from edgetl.backbones.build import build, classifier, segments
from edgetl.export.onnx import NORMALISATION, deployable
from edgetl.export.parity import check_parity

MANY_NODES = 1000


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _small_px(spec):
    """Return the smallest size from 64 px on that the backbone takes."""
    return -(-max(spec.min_px, 64) // spec.step_px) * spec.step_px


@pytest.mark.parametrize("name", backbones.names())
def test_backbone_trains_and_its_segments_compose(name):
    spec = backbones.get(name)
    torch.manual_seed(0)
    image_px = _small_px(spec)
    model = build(spec, num_classes=3, weights=None, image_px=image_px, drop_rate=0.2)
    parts = segments(spec, model)
    x = torch.randn(3, 3, image_px, image_px)
    with torch.no_grad():
        model.eval()
        pooled = x
        for _, module in parts:
            pooled = module(pooled)
        own = model.forward_head(model.forward_features(x), pre_logits=True)
        assert pooled.shape == own.shape
        assert (pooled - own).abs().max() <= 1e-5
        assert (classifier(model)(pooled) - model(x)).abs().max() <= 1e-5
        model.train()

    _check_parameters_are_divided(model, parts)
    before = classifier(model).weight.detach().clone()
    loss = functional.cross_entropy(model(x), torch.tensor([0, 1, 2]))
    loss.backward()
    assert torch.isfinite(loss)
    missing = [n for n, p in model.named_parameters() if p.grad is None]
    assert missing == []
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    assert not torch.equal(classifier(model).weight, before)


def _check_parameters_are_divided(model, parts):
    """Every parameter belongs to exactly one segment, the classifier's to none."""
    counted = [id(p) for _, module in parts for p in module.parameters()]
    assert len(counted) == len(set(counted))
    outside = {id(p) for p in model.parameters()} - set(counted)
    assert outside == {id(p) for p in classifier(model).parameters()}
    assert len({label for label, _ in parts}) == len(parts)


@pytest.mark.parametrize("name", backbones.names())
def test_backbone_head_and_weight_sources_are_as_the_spec_says(name):
    spec = backbones.get(name)
    assert spec.licence
    assert spec.paper.startswith("https://")
    assert all(0 < v < 1 for v in (*spec.mean, *spec.std))
    import timm

    cfg = timm.models.get_pretrained_cfg(spec.timm_name)
    assert cfg.classifier == spec.head
    if spec.hub_id:
        assert cfg.hf_hub_id == spec.hub_id
        assert cfg.input_size == (3, spec.input_px, spec.input_px)
        assert (cfg.mean, cfg.std) == (spec.mean, spec.std)
        assert cfg.interpolation == spec.interpolation
        assert cfg.license == spec.licence.lower()


@pytest.mark.parametrize("name", backbones.names())
def test_backbone_exports_with_parity(name, exported):
    made = exported(name)
    spec, image_px = made.spec, made.image_px
    nodes = onnx.load(made.path).graph.node
    assert [n.op_type for n in nodes[:4]] == list(NORMALISATION)
    assert made.result.normalisation_nodes == tuple(n.name for n in nodes[:4])
    shape_arithmetic = {"Shape", "Range", "Loop", "If"} - ({"Shape"} if spec.layout == "vit" else set())
    assert not shape_arithmetic & {n.op_type for n in nodes}  # a class token is repeated N times, nothing else asks
    assert len(nodes) < MANY_NODES
    images = np.random.default_rng(0).integers(0, 256, (5, image_px, image_px, 3), np.uint8)
    report = check_parity(deployable(made.network, mean=spec.mean, std=spec.std), made.path, images)
    assert max(r.max_abs for r in report.engines) <= 1e-4
