import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgetl.errors import ParityError
from edgetl.export.onnx import deployable, export_onnx
from edgetl.export.parity import (
    ParityTolerance,
    check_parity,
    compare,
    cosine,
    flips,
    label_agreement,
    max_abs,
)
from edgetl_runtime.errors import UsageError

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    path = tmp_path_factory.mktemp("parity") / "model.onnx"
    export_onnx(model, mean=MEAN, std=STD, size_px=(16, 16), path=path)
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    return deployable(model, mean=MEAN, std=STD), path, images


def test_check_parity_reports_both_engines(exported):
    model, path, images = exported
    report = check_parity(model, path, images)
    assert [r.engine for r in report.engines] == ["onnxruntime", "openvino"]
    assert report.count == 20
    for record in report.engines:
        assert record.max_abs <= 1e-5
        assert record.max_abs_logit <= 1e-5
        assert record.cosine >= 0.999999
        assert (record.label_agreement, record.flips) == (1.0, 0)


def _altered(path, tmp_path, change):
    model = onnx.load(path)
    bias = next(i for i in model.graph.initializer if list(i.dims) == [3])
    values = onnx.numpy_helper.to_array(bias).copy()
    bias.CopyFrom(onnx.numpy_helper.from_array(change(values), bias.name))
    onnx.save(model, tmp_path / "altered.onnx")
    return tmp_path / "altered.onnx"


def test_check_parity_refuses_a_slightly_different_file(exported, tmp_path):
    model, path, images = exported
    altered = _altered(path, tmp_path, lambda b: b + np.array([0.01, 0, 0], np.float32))
    with pytest.raises(
        ParityError, match=r"onnxruntime against torch on 20 images must be within 0\.001 in every probability"
    ):
        check_parity(model, altered, images)


def test_check_parity_refuses_nan(exported, tmp_path):
    model, path, images = exported
    altered = _altered(path, tmp_path, lambda b: b * np.float32("nan"))
    with pytest.raises(ParityError, match="got nan"):
        check_parity(model, altered, images)


def test_check_parity_refuses_logits_scaled_in_another_direction(exported, tmp_path):
    model, path, images = exported
    altered = _altered(path, tmp_path, lambda b: b + np.float32(5))  # softmax does not see it, temperature would
    with pytest.raises(ParityError, match="of cosine at least"):
        check_parity(model, altered, images)


def test_check_parity_refuses_flips_that_are_no_ties(exported, tmp_path, monkeypatch):
    model, path, images = exported
    torch_says = np.tile(np.log([[0.75, 0.25, 1e-9]]), (20, 1))
    engine_says = np.where(np.arange(20)[:, None] < 3, np.log([[0.49, 0.51, 1e-9]]), torch_says)
    monkeypatch.setattr("edgetl.export.parity.torch_logits", lambda *_: torch_says)
    monkeypatch.setattr("edgetl.export.parity.engine_logits", lambda *_: engine_says)
    strict = ParityTolerance(max_abs=0.3, min_cosine=0.9)
    with pytest.raises(ParityError, match="of at most 0 flips; got 3"):
        check_parity(model, path, images, tolerance=strict)
    ties = ParityTolerance(max_abs=0.6, min_cosine=0.9)
    assert check_parity(model, path, images, tolerance=ties).engines[0].label_agreement == 0.85


def test_check_parity_needs_images(exported):
    model, path, images = exported
    with pytest.raises(UsageError, match="at least one"):
        check_parity(model, path, images[:0])


def test_metrics_of_known_arrays():
    a = np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0 - 1e-9]], np.float64)
    b = np.array([[0.0, 3.0], [0.0, 1.0], [1.0 - 1e-9, 1.0]], np.float64)
    assert max_abs(a, b) == 3.0
    assert cosine(a, b) == 0.0
    assert label_agreement(a, b) == pytest.approx(1 / 3)
    assert flips(a, b) == 2
    assert flips(a, b, tie=1e-6) == 1


def test_cosine_of_zero_rows():
    zero, one = np.zeros((1, 2)), np.ones((1, 2))
    assert cosine(zero, zero) == 1.0
    assert cosine(zero, one) == 0.0


def test_compare_of_equal_logits():
    logits = np.random.default_rng(0).normal(size=(5, 4))
    record = compare("x", logits, logits, tie=0.0)
    assert (record.max_abs, record.max_abs_logit, record.label_agreement, record.flips) == (0.0, 0.0, 1.0, 0)
