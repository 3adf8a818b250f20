"""The golden check passes on good bundles and finds each way in which a machine can differ."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

import edgetl_runtime
from edgetl_runtime import golden
from edgetl_runtime.errors import BundleError, GoldenError
from edgetl_runtime.manifest import GoldenTolerance
from edgetl_runtime.tasks.classification import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgetl_runtime.session import Session


@pytest.fixture(scope="module")
def path(tiny_bundle: Callable[..., Path]) -> Path:
    return tiny_bundle()


@pytest.fixture
def session(path: Path) -> Iterator[Session]:
    with edgetl_runtime.open(path) as opened:
        yield opened


def altered(session: Session, **changes: Any) -> Session:
    session.variant = dataclasses.replace(session.variant, **changes)
    return session


def shifted_logits(session: Session, by: float, monkeypatch: pytest.MonkeyPatch) -> None:
    true_infer = session.infer
    monkeypatch.setattr(session, "infer", lambda batch: true_infer(batch) + np.array([by, 0], np.float32))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "null"])
def test_check_passes_and_reports_figures(backend: str, path: Path) -> None:
    with edgetl_runtime.open(path, backend=backend) as opened:
        report = golden.check(opened, opened.bundle)
    assert (report.backend, report.count, report.tensors_equal, report.max_grey_levels) == (backend, 16, True, 0)
    assert report.max_abs < 1e-5
    assert (report.opencv_here, report.opencv_bundle) == (cv2.__version__, cv2.__version__)
    assert (report.near_threshold, report.preprocess_flips) == (0, 0)


def test_check_refuses_scores_beyond_the_tolerance(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    shifted_logits(session, 0.1, monkeypatch)
    with pytest.raises(GoldenError, match=r"golden scores of variant onnxruntime-f32 must be within 0.001"):
        golden.check(session, session.bundle)
    tolerant = altered(session, golden_tolerance=GoldenTolerance(max_abs=0.05))
    assert 0.01 < golden.check(tolerant, session.bundle).max_abs < 0.05


def test_check_refuses_not_a_number(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    shifted_logits(session, float("nan"), monkeypatch)
    with pytest.raises(ValueError, match="finite"):
        golden.check(session, session.bundle)


def test_check_allows_another_verdict_only_near_the_threshold(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    defect_score = float(session.bundle.array(session.variant.golden)[4, 0])
    border = defect_score + 5e-4  # expected: below; with the shifted logits: above
    altered(
        session,
        thresholds=Thresholds(nok_at=border, ok_below=border),
        golden_tolerance=GoldenTolerance(max_abs=0.02),
    )
    shifted_logits(session, 0.02, monkeypatch)
    assert golden.check(session, session.bundle).near_threshold >= 1
    # the same flip, where it is said that scores move by less than the distance to the threshold
    monkeypatch.setattr(golden, "_near_border", lambda *_: np.zeros(16, bool))
    with pytest.raises(GoldenError, match="another label or verdict at image"):
        golden.check(session, session.bundle)


def test_check_refuses_other_pixels_in_the_same_opencv(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    true_tensor = session.tensor
    monkeypatch.setattr(session, "tensor", lambda image: true_tensor(image) ^ 1)
    with pytest.raises(GoldenError, match="golden tensors must be within 0 grey levels"):
        golden.check(session, session.bundle)


def test_check_reports_other_pixels_of_another_opencv(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    true_tensor = session.tensor
    monkeypatch.setattr(session, "tensor", lambda image: true_tensor(image) ^ 3)
    monkeypatch.setattr(cv2, "__version__", "4.99.0")
    report = golden.check(session, session.bundle)
    assert (report.tensors_equal, report.max_grey_levels, report.opencv_here) == (False, 3, "4.99.0")
    monkeypatch.setattr(session, "tensor", lambda image: true_tensor(image) ^ 8)
    with pytest.raises(GoldenError, match=r"(?s)within 4 grey levels.*a difference of 8.*pip install opencv"):
        golden.check(session, session.bundle)


def test_check_refuses_golden_vectors_that_contradict_the_manifest(
    tiny_bundle: Callable[..., Path], path: Path
) -> None:
    with edgetl_runtime.open(path, backend="null") as opened:
        fields = opened.manifest.golden
    wrong = tiny_bundle(golden=dataclasses.replace(fields, tensor_sha256="0" * 64))
    with edgetl_runtime.open(wrong, backend="null") as opened, pytest.raises(BundleError, match="golden tensors"):
        golden.check(opened, opened.bundle)
    with edgetl_runtime.open(path, backend="null") as opened:
        altered(opened, golden="golden/tensors.npy")
        with pytest.raises(BundleError, match=r"golden scores must be \(16, 2\) float32"):
            golden.check(opened, opened.bundle)
