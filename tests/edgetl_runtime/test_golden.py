"""The golden check passes on good bundles and finds each way in which a machine can differ."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

import edgetl_runtime
from edgetl_runtime import golden
from edgetl_runtime.errors import BackendError, BundleError, GoldenError
from edgetl_runtime.manifest import GoldenTolerance
from edgetl_runtime.tasks.inspection import Params, Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgetl_runtime.session import Session


def params_at(cut: float) -> Params:
    return Params(thresholds=Thresholds(nok_at=cut, ok_below=cut), temperature=1.5)


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


def images_of(session: Session) -> list[bytes]:
    return [session.bundle.read(name) for name in session.manifest.golden.images]


def shifted_logits(session: Session, by: float, monkeypatch: pytest.MonkeyPatch) -> None:
    true_infer = session.infer
    monkeypatch.setattr(
        session, "infer", lambda batch: {"logits": true_infer(batch)["logits"] + np.array([by, 0], np.float32)}
    )


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "null"])
def test_check_passes_and_reports_figures(backend: str, path: Path) -> None:
    with edgetl_runtime.open(path, backend=backend) as opened:
        report = golden.check(opened, opened.bundle)
    assert (report.backend, report.count, report.tensors_equal, report.max_grey_levels) == (backend, 16, True, 0)
    assert report.max_abs < 1e-5
    assert (report.opencv_here, report.opencv_bundle) == (cv2.__version__, cv2.__version__)
    assert (report.near_border, report.preprocess_flips) == (0, 0)


def test_check_refuses_scores_beyond_the_tolerance(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    shifted_logits(session, 0.1, monkeypatch)
    with pytest.raises(GoldenError, match=r"golden scores of variant onnxruntime-f32 must be within 0.001"):
        golden.check(session, session.bundle)
    tolerant = altered(session, golden_tolerance=GoldenTolerance(max_abs=0.05))
    assert 0.01 < golden.check(tolerant, session.bundle).max_abs < 0.05


def test_check_refuses_not_a_number(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    shifted_logits(session, float("nan"), monkeypatch)
    with pytest.raises(BackendError, match="finite"):
        golden.check(session, session.bundle)


def test_check_allows_another_verdict_only_near_the_threshold(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = session.bundle.array(session.variant.golden)
    border = float(scores[4, 0]) + 5e-4  # expected: below; with the shifted logits: above
    at_border = params_at(border)
    altered(
        session,
        params=at_border,
        golden_tolerance=GoldenTolerance(max_abs=0.02),
        golden_decisions=golden.decisions_of(session.task, scores, session.manifest.labels, at_border),
    )
    shifted_logits(session, 0.02, monkeypatch)
    assert golden.check(session, session.bundle).near_border >= 1
    # the same flip, where it is said that scores move by less than the distance to the threshold
    monkeypatch.setattr(golden, "_near_border", lambda *_: np.zeros(16, bool))
    with pytest.raises(GoldenError, match="another label or verdict at image"):
        golden.check(session, session.bundle)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "null"])
def test_check_refuses_thresholds_that_change_a_golden_verdict(backend: str, path: Path) -> None:
    """However little they were moved: no tolerance of scores excuses another threshold."""
    with edgetl_runtime.open(path, backend=backend) as opened:
        scores = sorted(opened.bundle.array(opened.variant.golden)[:, 0].astype(float))
        above = next(score for score in scores if score >= 0.5)
        for cut in (above + 1e-6, 1.0, 0.0):
            altered(opened, params=params_at(cut))
            with pytest.raises(GoldenError, match=r"labels and params of .* golden image \d+ is .*; got"):
                golden.check(opened, opened.bundle)
        harmless = (above + max(score for score in scores if score < 0.5)) / 2
        altered(opened, params=params_at(harmless))
        assert golden.check(opened, opened.bundle).near_border == 0


@pytest.mark.parametrize("changes", [{"defect_classes": ("ok",)}, {"classes": ("ok", "bad")}])
def test_check_refuses_classes_that_change_a_golden_decision(session: Session, changes: dict[str, Any]) -> None:
    session.manifest = dataclasses.replace(
        session.manifest, labels=dataclasses.replace(session.manifest.labels, **changes)
    )
    with pytest.raises(GoldenError, match="labels and params of variant onnxruntime-f32"):
        golden.check(session, session.bundle)


def test_check_refuses_a_decision_that_only_this_machines_pixels_change(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pixels are within what another OpenCV may do, its scores of the bundle's tensors are right."""
    true_tensor = session.tensor
    monkeypatch.setattr(cv2, "__version__", "4.99.0")
    monkeypatch.setattr(session, "tensor", lambda image: (true_tensor(image) // 4 * 4).astype(np.uint8))
    scores = session.bundle.array(session.variant.golden)
    own = [
        session.decide(session.infer(session.tensor(image)[None]))[0].to_mapping()["defect_score"]
        for image in images_of(session)
    ]
    moved = np.array(own) - scores[:, 0]
    which = int(np.abs(moved).argmax())
    between = float(scores[which, 0] + moved[which] / 2)
    cut = params_at(between)
    decisions = golden.decisions_of(session.task, scores, session.manifest.labels, cut)
    tight = GoldenTolerance(max_abs=float(abs(moved[which])) / 10)
    altered(session, params=cut, golden_decisions=decisions, golden_tolerance=tight)
    with pytest.raises(GoldenError, match=r"(?s)from this machine's own pixels must be .*pip install opencv"):
        golden.check(session, session.bundle)
    monkeypatch.setattr(session, "tensor", true_tensor)
    assert golden.check(session, session.bundle).preprocess_flips == 0


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
