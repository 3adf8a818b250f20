"""Does this machine reproduce the golden vectors: the same tensors, scores, labels and verdicts?"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from edgetl_runtime.errors import BundleError, GoldenError
from edgetl_runtime.manifest import GoldenDecision

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.session import Session
    from edgetl_runtime.tasks.base import Task


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GoldenReport:
    """What the check found; it only exists if the check passed.

    Attributes:
        variant: Id.
        backend: Name.
        count: Golden vectors compared.
        tensors_equal: Preprocessing here gave every byte of the expected tensors.
        max_grey_levels: Largest difference of a pixel, 0 if they are equal.
        opencv_here: Version on this machine.
        opencv_bundle: Version that made the bundle; empty if it does not say.
        max_abs: Largest difference of a score, on the bundle's tensors.
        tolerance: That it had to keep.
        near_border: Images whose label or verdict differs, but so near a border that it may.
        preprocess_flips: Images whose label or verdict differs on this machine's own tensors; 0 if those are equal.
    """

    variant: str
    backend: str
    count: int
    tensors_equal: bool
    max_grey_levels: int
    opencv_here: str
    opencv_bundle: str
    max_abs: float
    tolerance: float
    near_border: int
    preprocess_flips: int


def check(session: Session, bundle: Bundle) -> GoldenReport:
    """Reproduce the golden vectors.

    Args:
        session: With the variant to check.
        bundle: That the session came from.

    Raises:
        GoldenError: A tensor, score, label or verdict is farther off than the bundle allows, or the parameters decide
            otherwise than is stated.
        BundleError: The golden vectors contradict the manifest.
    """
    import cv2

    tensors, expected = _expected(session, bundle)
    _check_stated(session, expected)
    own = np.stack([session.tensor(bundle.read(name)) for name in bundle.manifest.golden.images])
    grey_levels = int(np.abs(own.astype(np.int16) - tensors).max())
    made_with = bundle.manifest.versions.get("opencv", "")
    _check_tensors(session, grey_levels, made_with=made_with, here=cv2.__version__)
    found = _scores(session, tensors)
    differences = np.abs(found - expected)
    tolerance = session.variant.golden_tolerance.max_abs
    worst = int(differences.max(axis=1).argmax())
    if not differences.max() <= tolerance:
        what = f"golden scores of variant {session.variant.id}"
        got = f"a difference of {differences.max():.4f} at image {worst}"
        raise GoldenError(what, f"within {tolerance} of the bundle's", got, fix=_other_variant(session))
    near = _near_border(session, expected)
    flips = _flips(session, found)
    _check_decisions(session, flips & ~near, by="", fix=_other_variant(session))
    own_flips = np.zeros(0, bool)
    if grey_levels:  # this machine decodes or resizes differently, and decides on what it sees itself
        own_flips = _flips(session, _scores(session, own))
        fix = f"pip install opencv-python-headless=={made_with}.*" if made_with else _other_variant(session)
        _check_decisions(session, own_flips & ~near, by=" from this machine's own pixels", fix=fix)
    return GoldenReport(
        variant=session.variant.id,
        backend=session.variant.backend,
        count=len(tensors),
        tensors_equal=grey_levels == 0,
        max_grey_levels=grey_levels,
        opencv_here=cv2.__version__,
        opencv_bundle=made_with,
        max_abs=float(differences.max()),
        tolerance=tolerance,
        near_border=int(flips.sum()),
        preprocess_flips=int(own_flips.sum()),
    )


def decisions_of(
    task: Task[Any, Any, Any],
    scores: NDArray[np.floating],
    labels: Any,  # noqa: ANN401  (the task's)
    params: Any,  # noqa: ANN401  (the task's)
) -> tuple[GoldenDecision, ...]:
    """Return what golden scores, float32 (G, S) as the bundle holds them, say of each image."""
    found = task.decided(scores.astype(np.float64), labels, params)
    return tuple(GoldenDecision(label=d.label, verdict=d.verdict) for d in found)


def tensor_digest(tensors: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of the tensors' bytes in C order, as the manifest holds it."""
    return hashlib.sha256(np.ascontiguousarray(tensors).data).hexdigest()


def _expected(session: Session, bundle: Bundle) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    manifest = bundle.manifest
    spec = manifest.preprocess
    tensors = bundle.array(manifest.golden.tensors)
    shape = (manifest.golden.count, spec.height_px, spec.width_px, 3)
    if not manifest.golden.count:
        raise BundleError("golden vectors", "at least one", "none", fix="export the bundle again")
    if tensors.shape != shape or tensors.dtype != np.uint8 or tensor_digest(tensors) != manifest.golden.tensor_sha256:
        got = f"{tensors.shape} {tensors.dtype} or another digest"
        raise BundleError("golden tensors", f"{shape} uint8 with the manifest's digest", got, fix="export again")
    expected = bundle.array(session.variant.golden)
    columns = len(session.task.score_names(manifest.labels))
    if expected.shape != (shape[0], columns) or expected.dtype != np.float32:
        must = f"({shape[0]}, {columns}) float32"
        raise BundleError("golden scores", must, f"{expected.shape} {expected.dtype}", fix="export again")
    return tensors, expected


def _check_tensors(session: Session, grey_levels: int, *, made_with: str, here: str) -> None:
    """Equal OpenCV versions decode and resize bit-equally; other versions may differ by the stated grey levels."""
    allowed = 0 if made_with == here else session.variant.golden_tolerance.max_grey_levels
    if grey_levels > allowed:
        must = f"within {allowed} grey levels of the bundle's (OpenCV {made_with or 'unknown'} there, {here} here)"
        fix = (
            f"pip install opencv-python-headless=={made_with}.*"
            if made_with and made_with != here
            else "reinstall OpenCV"
        )
        raise GoldenError("golden tensors", must, f"a difference of {grey_levels}", fix=fix)


def _check_stated(session: Session, expected: NDArray[np.float32]) -> None:
    """Refuse labels or parameters that make other decisions of the golden scores than are stated."""
    stated = session.variant.golden_decisions
    given = decisions_of(session.task, expected, session.manifest.labels, session.variant.params)
    for index, (must, got) in enumerate(zip(stated, given, strict=True)):
        if must != got:
            what = f"labels and params of variant {session.variant.id}"
            said = f"such that golden image {index} is {must.label} and {must.verdict}"
            raise GoldenError(what, said, f"{got.label} and {got.verdict}", fix="deploy again; do not use this bundle")


def _check_decisions(session: Session, wrong: NDArray[np.bool_], *, by: str, fix: str) -> None:
    if wrong.any():
        what = f"golden decisions of variant {session.variant.id}{by}"
        got = f"another label or verdict at image {int(wrong.argmax())}"
        raise GoldenError(what, "the bundle's", got, fix=fix)


def _scores(session: Session, tensors: NDArray[np.uint8]) -> NDArray[np.float64]:
    return session.task.scores(session.infer(tensors), session.manifest.labels, session.variant.params)


def _flips(session: Session, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where the label or the verdict differs from the stated one, bool (G,)."""
    found = decisions_of(session.task, scores, session.manifest.labels, session.variant.params)
    return np.array([one != stated for one, stated in zip(found, session.variant.golden_decisions, strict=True)])


def _near_border(session: Session, expected: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return where differences within the tolerance can change the label or the verdict, bool (G,)."""
    return session.task.near_border(
        expected.astype(np.float64),
        session.manifest.labels,
        session.variant.params,
        tolerance=session.variant.golden_tolerance.max_abs,
    )


def _other_variant(session: Session) -> str:
    others = [v.id for v in session.manifest.variants if v.id != session.variant.id]
    return f"--variant {others[-1]}, or deploy for this machine" if others else "deploy for this machine"
