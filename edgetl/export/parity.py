"""Prove that the exported file computes what the trained network computes, on real images.

The metrics are pure functions of two arrays of logits; `check_parity` runs every engine on the same images and
refuses the file when one of them disagrees.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgetl.errors import ParityError
from edgetl_runtime import backends
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.errors import UsageError
from edgetl_runtime.tasks.softmax import softmax

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgetl.export.onnx import Deployable

    Logits = NDArray[np.floating]

ENGINES = ("onnxruntime", "openvino")
BATCH = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ParityTolerance:
    """How far an engine may be from torch, in float32.

    Attributes:
        max_abs: Largest difference of a probability, 0 to 1.
        min_cosine: Smallest cosine between the logits of one image.
        max_flips: Images whose label may differ: none, but for ties closer than `max_abs`.
    """

    max_abs: float = 1e-3
    min_cosine: float = 0.9999
    max_flips: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineParity:
    """One engine against torch on the same images.

    Attributes:
        engine: Name of the backend.
        max_abs: Largest difference of a probability.
        max_abs_logit: Largest difference of a logit.
        cosine: Smallest cosine between the logits of one image.
        label_agreement: Share of images with the same label.
        flips: Images with another label, ties apart.
    """

    engine: str
    max_abs: float
    max_abs_logit: float
    cosine: float
    label_agreement: float
    flips: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Every engine's agreement with torch, with its conditions.

    Attributes:
        count: Images compared.
        tolerance: What was demanded.
        engines: One record per engine.
    """

    count: int
    tolerance: ParityTolerance
    engines: tuple[EngineParity, ...]


def max_abs(a: Logits, b: Logits) -> float:
    """Return the largest absolute difference.

    Example:
        >>> max_abs(np.array([[0.0, 1.0]]), np.array([[0.5, 1.0]]))
        0.5
    """
    return float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)), initial=0.0))


def cosine(a: Logits, b: Logits) -> float:
    """Return the smallest cosine between rows of `a` and `b`; two rows of zeros agree.

    Example:
        >>> cosine(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]]))
        1.0
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    products = (x * y).sum(axis=1)
    both_zero = ~x.any(axis=1) & ~y.any(axis=1)
    values = np.where(lengths == 0, both_zero, products / np.where(lengths == 0, 1.0, lengths))
    return float(values.min(initial=1.0))


def label_agreement(a: Logits, b: Logits) -> float:
    """Return the share of rows with the same largest element.

    Example:
        >>> label_agreement(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 1.0]]))
        0.5
    """
    return float(np.mean(a.argmax(axis=1) == b.argmax(axis=1))) if len(a) else 1.0


def flips(a: Logits, b: Logits, *, tie: float = 0.0) -> int:
    """Count the rows whose label differs.

    Args:
        a: The reference, (N, classes).
        b: What is compared with it.
        tie: A row whose two labels are, in `a`, at most this far apart in probability is a tie and not counted.
    """
    first, second = a.argmax(axis=1), b.argmax(axis=1)
    rows = np.arange(len(a))
    p = softmax(a) if len(a) else a
    return int(np.sum((first != second) & (p[rows, first] - p[rows, second] > tie)))


def compare(engine: str, reference: Logits, logits: Logits, *, tie: float) -> EngineParity:
    """Compute every metric of one engine against the reference."""
    return EngineParity(
        engine=engine,
        max_abs=max_abs(softmax(reference), softmax(logits)),
        max_abs_logit=max_abs(reference, logits),
        cosine=cosine(reference, logits),
        label_agreement=label_agreement(reference, logits),
        flips=flips(reference, logits, tie=tie),
    )


def check_parity(
    model: Deployable,
    path: Path,
    images: NDArray[np.uint8],
    *,
    tolerance: ParityTolerance | None = None,
    engines: Sequence[str] = ENGINES,
) -> ParityReport:
    """Compare an exported file with the trained network on the same images.

    Args:
        model: What `edgetl.export.onnx.deployable` made of the trained network.
        path: The exported file.
        images: uint8 (N, height, width, 3); at least one.
        tolerance: How far an engine may be from torch.
        engines: Backends to run, in float32.

    Raises:
        ParityError: An engine is beyond the tolerance.
        BackendMissingError: An engine is not installed.
    """
    if len(images) == 0:
        raise UsageError("the images of a parity check", "at least one", "none", fix="give validation images")
    tolerance = tolerance or ParityTolerance()
    reference = torch_logits(model, images)
    data = path.read_bytes()
    records = tuple(compare(e, reference, engine_logits(e, data, images), tie=tolerance.max_abs) for e in engines)
    for record in records:
        _refuse_beyond(record, tolerance, len(images))
    return ParityReport(count=len(images), tolerance=tolerance, engines=records)


def torch_logits(model: Deployable, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the trained network's logits, float32 (N, classes)."""
    with torch.inference_mode():
        parts = [model(torch.from_numpy(np.array(images[i : i + BATCH]))).numpy() for i in range(0, len(images), BATCH)]
    return np.concatenate(parts)


def engine_logits(engine: str, data: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a backend's logits in float32 arithmetic, float32 (N, classes)."""
    backend = backends.get(engine)
    backend.require()
    options = LoadOptions(precision="f32", batch=None)
    with backend.load(backend.compile(data, options), options) as session:
        outputs = [session.infer(np.array(images[i : i + BATCH])) for i in range(0, len(images), BATCH)]
    return np.concatenate([found["logits"] for found in outputs])


def _refuse_beyond(record: EngineParity, tolerance: ParityTolerance, count: int) -> None:
    what = f"{record.engine} against torch on {count} images"
    fix = "use the pinned versions of torch, onnxscript and the backends, or another --backbone"
    # written so that NaN, which compares false with everything, is refused too
    if not record.max_abs <= tolerance.max_abs:
        raise ParityError(what, f"within {tolerance.max_abs:g} in every probability", f"{record.max_abs:.3g}", fix=fix)
    if not record.cosine >= tolerance.min_cosine:
        raise ParityError(what, f"of cosine at least {tolerance.min_cosine:g}", f"{record.cosine:.6g}", fix=fix)
    if not record.flips <= tolerance.max_flips:
        raise ParityError(what, f"of at most {tolerance.max_flips} flips", f"{record.flips}", fix=fix)
