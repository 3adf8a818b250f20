"""What leaks in a data set: near-duplicates across splits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgetl_runtime.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgetl.data.samples import Sample

HASH_SIDE = 16
THUMB_SIDE = 32
LEAST_CORRELATION = 0.97  # of thumbnails; equal hashes alone are common where the background is plain
BLOCK = 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NearPair:
    """Two images of different splits that look the same.

    Attributes:
        first: Index of the one, lower than `second`.
        second: Index of the other.
        differing_bits: Of the 256 bits of their hashes.
    """

    first: int
    second: int
    differing_bits: int


def near_duplicates(
    images: NDArray[np.uint8], samples: Sequence[Sample], *, max_differing_bits: int = 8
) -> tuple[NearPair, ...]:
    """Find images of different splits whose difference hashes agree nearly everywhere, and whose thumbnails correlate.

    A hint, not a proof: parts photographed in a fixture look alike. Images without contrast agree with each other and
    are passed over.

    Args:
        images: uint8 (N, height, width, 3), as `load_images` gives them.
        samples: The N samples, in the same order.
        max_differing_bits: Of 256.

    Returns:
        The nearest pairs first.

    Raises:
        ShapeError: Images and samples are not of the same number.
    """
    if len(images) != len(samples):
        raise ShapeError(
            "images", f"{len(samples)}, one a sample", str(len(images)), fix="pass the samples of the images"
        )
    bits = np.stack([difference_hash(image) for image in images]) if len(images) else np.zeros((0, 1), bool)
    signs = np.where(bits, 1, -1).astype(np.float32)
    thumbs = np.stack([_thumbnail(image) for image in images]) if len(images) else np.zeros((0, 1), np.float32)
    splits = np.array([sample.split for sample in samples])
    pairs: list[NearPair] = []
    for start in range(0, len(signs), BLOCK):
        # the product counts equal bits minus differing ones
        differing = (bits.shape[1] - signs[start : start + BLOCK] @ signs.T) / 2
        for row, second in zip(*np.nonzero(differing <= max_differing_bits), strict=True):
            first = start + int(row)
            if (
                first < second
                and splits[first] != splits[second]
                and thumbs[first] @ thumbs[second] >= LEAST_CORRELATION
            ):
                pairs.append(NearPair(first=first, second=int(second), differing_bits=int(differing[row, second])))
    return tuple(sorted(pairs, key=lambda pair: (pair.differing_bits, pair.first, pair.second)))


def difference_hash(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return 256 bits: whether each of 16x16 areas is brighter than its right neighbour.

    Args:
        image: uint8 (height, width, 3).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = np.asarray(cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA))
    bits: NDArray[np.bool_] = (small[:, :-1] > small[:, 1:]).ravel()
    return bits


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return grey levels as a vector of zero mean and unit length; of zeros where there is no contrast."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    levels = np.asarray(small, np.float32).ravel()
    levels -= levels.mean()
    return levels / max(float(np.linalg.norm(levels)), 1e-6)
