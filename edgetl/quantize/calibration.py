"""The images a quantizer sees: a small, class-stratified, seeded part of the unaugmented training images."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import QuantizeError

DEFAULT_COUNT = 300


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """What every recipe of one run is calibrated on.

    Attributes:
        images: uint8 array (N, height, width, 3), as the model's input takes it.
        indices: Their places in the training split, ascending within the shuffled order of `images`.
        digest: sha256 over shape and pixels; part of the evidence.
    """

    images: NDArray[np.uint8]
    indices: tuple[int, ...]
    digest: str


def select(
    images: NDArray[np.uint8], labels: NDArray[np.integer], *, count: int = DEFAULT_COUNT, seed: int = 0
) -> CalibrationSet:
    """Choose the calibration images from the training split.

    Every class gets its share of `count`, but at least one image; a split smaller than `count` is taken whole.

    Args:
        images: uint8 array (N, height, width, 3), preprocessed and not augmented; a memory map is read sparsely.
        labels: Integer array (N,).
        count: How many images to choose, >= 2.
        seed: Decides which ones, and their order.

    Returns:
        A copy of the chosen images, shuffled so that any first part of them is stratified roughly as well.

    Raises:
        QuantizeError: There are no images, they are not uint8 (N, H, W, 3), labels do not fit, or all are of one class.

    Example:
        >>> chosen = select(np.zeros((8, 4, 4, 3), np.uint8), np.array([0, 1] * 4), count=4)
        >>> chosen.images.shape
        (4, 4, 4, 3)
    """
    _check(images, labels, count)
    rng = np.random.default_rng(seed)
    shares = _shares(labels, min(count, len(labels)))
    chosen = [rng.choice(np.flatnonzero(labels == value), size=share, replace=False) for value, share in shares]
    indices = rng.permutation(np.concatenate(chosen))
    batch = np.ascontiguousarray(images[np.sort(indices)][np.argsort(np.argsort(indices))])
    return CalibrationSet(images=batch, indices=tuple(int(i) for i in indices), digest=digest(batch))


def digest(images: NDArray[np.uint8]) -> str:
    """Return the sha256, in hexadecimal, over the shape and the pixels of a batch."""
    return hashlib.sha256(repr(images.shape).encode() + np.ascontiguousarray(images).tobytes()).hexdigest()


def check_images(images: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Refuse what cannot calibrate a model; return the array otherwise.

    Raises:
        QuantizeError: The array is missing, empty, or not uint8 (N, H, W, 3).
    """
    fix = "give images of the training split"
    if images is None or len(images) == 0:
        raise QuantizeError(
            "the calibration set", "at least one image", "none" if images is None else "an empty one", fix=fix
        )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        got = f"{images.dtype} of shape {images.shape}"
        raise QuantizeError("the calibration set", "uint8 of shape (N, height, width, 3)", got, fix=fix)
    return images


def _check(images: NDArray[np.uint8], labels: NDArray[np.integer], count: int) -> None:
    check_images(images)
    if labels.shape != (len(images),):
        got = f"shape {labels.shape} for {len(images)} images"
        raise QuantizeError("calibration labels", "one per image", got, fix="pass the labels of the same split")
    present = np.unique(labels)
    if len(present) < 2:
        got = f"class {int(present[0])} only"
        raise QuantizeError(
            "the calibration set", "of at least two classes", got, fix="calibrate on the whole training split"
        )
    if count < len(present):
        got = f"{count} for {len(present)} classes"
        raise QuantizeError(
            "the number of calibration images", "at least one per class", got, fix=f"ask for {DEFAULT_COUNT}"
        )


def _shares(labels: NDArray[np.integer], total: int) -> list[tuple[int, int]]:
    """Divide `total` among the classes by their size: largest remainder, at least one each."""
    values, sizes = np.unique(labels, return_counts=True)
    exact = sizes * (total / sizes.sum())
    shares = np.maximum(1, np.floor(exact)).astype(int)
    by_remainder = np.argsort(-(exact - shares), kind="stable")
    for at in by_remainder[: max(0, total - int(shares.sum()))]:
        shares[at] += 1
    while shares.sum() > total:  # the "at least one" of rare classes is taken from the largest
        shares[np.argmax(shares)] -= 1
    return list(zip(values.tolist(), shares.tolist(), strict=True))
