"""The grid: every backbone at every resolution, and of the target's plan what was asked for."""

from __future__ import annotations

import pytest

from edgetl import profiles
from edgetl.deploy.plan import plan
from edgetl.search.grid import SearchConfig, folder_name, networks, restricted
from edgetl_runtime.errors import UsageError

LITE0, V2 = "tf_efficientnet_lite0", "mobilenetv2_100"


@pytest.fixture
def planned():
    return plan(profiles.get("local"), cores=2)


def test_networks_are_the_product_and_default_to_the_training():
    found = networks(SearchConfig(backbones=(LITE0, V2), image_sizes=(160, 224)), backbone="unused")
    assert [(n.backbone, n.image_px) for n in found] == [(LITE0, 160), (LITE0, 224), (V2, 160), (V2, 224)]
    assert len({n.name for n in found}) == 4
    assert [(n.name, n.image_px) for n in networks(SearchConfig(), backbone=LITE0)] == [(LITE0, None)]
    assert folder_name("timm/resnet10t.c3_in1k", 96) == "timm-resnet10t.c3_in1k-96"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"backbones": ("mobilenetv9",)}, "--backbone must be a name of the catalogue; got 'mobilenetv9'"),
        ({"image_sizes": (16,)}, "must be at least 32; got 16"),
        ({"backbones": (LITE0, LITE0)}, f"the networks of the grid must be different; got {LITE0} twice"),
    ],
)
def test_a_wrong_network_is_said(config, words):
    with pytest.raises(UsageError, match=words):
        networks(SearchConfig(**config), backbone=LITE0)


@pytest.mark.parametrize("name", ["slice_images", "slice_margin_pp", "max_gap_pp"])
def test_negative_numbers_are_refused(name):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be 0 or above; got -1"):
        SearchConfig(**{name: -1})
    with pytest.raises(UsageError, match="--threads must be at least 1; got 0"):
        SearchConfig(threads=(2, 0))


def test_restricted_keeps_what_was_asked_for(planned):
    found = restricted(planned, SearchConfig(backends=("onnxruntime",), threads=(3,)))
    assert {(p.backend, p.threads) for p in found} == {("onnxruntime", (3,))}
    both = restricted(planned, SearchConfig(precisions=("f32",)))
    assert {(p.backend, p.precision) for p in both} == {("openvino", "f32"), ("onnxruntime", "f32")}
    assert restricted(planned, SearchConfig()) == planned
    left = restricted(planned, SearchConfig(precisions=("f32",)), without=("openvino-f32",))
    assert [p.backend for p in left] == ["onnxruntime"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"backends": ("tensorrt",)}, "--backends must be of the target's: onnxruntime, openvino; got 'tensorrt'"),
        ({"precisions": ("f16",)}, "--precisions must be of the target's: bf16, f32, int8; got 'f16'"),
        ({"precisions": ("bf16",), "backends": ("onnxruntime",)}, "the grid must be of variants that the target has"),
    ],
)
def test_what_the_target_does_not_have_is_said(config, words, planned):
    with pytest.raises(UsageError, match=words):
        restricted(planned, SearchConfig(**config))
