"""The uint8 tensors of a data set, made by the runtime's own preprocessing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgetl.data.pool import work_through
from edgetl.errors import DataError
from edgetl_runtime.decode import decode
from edgetl_runtime.errors import unreadable
from edgetl_runtime.preprocess import preprocess
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgetl.data.samples import Progress, Sample
    from edgetl_runtime.preprocess import PreprocessSpec

CACHE_FORMAT = 2


def load_images(
    samples: Sequence[Sample], spec: PreprocessSpec, *, progress: Progress | None = None
) -> NDArray[np.uint8]:
    """Decode and preprocess every sample as the device does.

    Args:
        samples: In the order of the result.
        spec: How an image becomes a tensor.
        progress: Called with (done, total).

    Returns:
        uint8 array (N, height, width, 3), RGB.

    Raises:
        DataError: A file changed since it was scanned, or cannot be read.
        ImageError: The region of interest lies outside an image, or the bit depth does not fit.
    """
    images = np.empty((len(samples), spec.height_px, spec.width_px, 3), np.uint8)

    def fill(index: int) -> None:
        images[index] = _tensor(samples[index], spec)

    work_through(fill, range(len(samples)), progress=progress)
    return images


def cache_key(samples: Sequence[Sample], spec: PreprocessSpec) -> str:
    """Return what the tensors depend on, as 32 hexadecimal digits: contents in order, spec, decoders."""
    parts: dict[str, Any] = {
        "format": CACHE_FORMAT,
        "opencv": cv2.__version__,
        "simplejpeg": importlib.metadata.version("simplejpeg"),
        "spec": to_mapping(spec),
        "contents": [sample.sha256 for sample in samples],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _tensor(sample: Sample, spec: PreprocessSpec) -> NDArray[np.uint8]:
    try:
        data = sample.path.read_bytes()
    except OSError as error:
        raise unreadable(DataError, f"image {sample.path}", error, path=sample.path) from error
    if hashlib.sha256(data).hexdigest() != sample.sha256:
        raise DataError(
            f"image {sample.path}",
            "as it was when scanned",
            "another content",
            fix="the same command again, while nothing changes the images",
        )
    return preprocess(decode(data, spec, name=f"image {sample.path}"), spec, colour="rgb")
