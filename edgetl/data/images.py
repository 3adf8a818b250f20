"""The uint8 tensors of a data set, made once by the runtime's own preprocessing and cached on disk."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
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
    samples: Sequence[Sample], spec: PreprocessSpec, *, cache_dir: Path | None, progress: Progress | None = None
) -> NDArray[np.uint8]:
    """Decode and preprocess every sample as the device does.

    Args:
        samples: In the order of the result.
        spec: How an image becomes a tensor.
        cache_dir: Where the tensors are kept, named by content, spec and decoders; None keeps them in memory.
        progress: Called with (done, total); not called when the cache holds everything.

    Returns:
        uint8 array (N, height, width, 3), RGB. A read-only map of the cache file where there is one.

    Raises:
        DataError: A file changed since it was scanned, or cannot be read.
        ImageError: The region of interest lies outside an image, or the bit depth does not fit.
    """
    shape = (len(samples), spec.height_px, spec.width_px, 3)
    if cache_dir is None or not samples:
        images = np.empty(shape, np.uint8)
        _fill(images, samples, spec, progress)
        return images
    file = cache_dir / f"images-{cache_key(samples, spec)}.npy"
    cached = _open_cached(file, shape)
    if cached is not None:
        return cached
    cache_dir.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=cache_dir, prefix=".images-", suffix=".tmp")
    os.close(handle)
    try:
        _write_file(Path(name), shape, samples, spec, progress)
        Path(name).replace(file)
    finally:
        Path(name).unlink(missing_ok=True)
    return np.load(file, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


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


def _open_cached(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Return the cached tensors; None where there are none or the file is not whole."""
    try:
        images: NDArray[np.uint8] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # absent; shorter than its header says; or empty
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _write_file(
    file: Path, shape: tuple[int, ...], samples: Sequence[Sample], spec: PreprocessSpec, progress: Progress | None
) -> None:
    images = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    with file.open("r+b") as reserved:
        # a full disk is an OSError here; while writing through the map it would kill the process with SIGBUS
        os.posix_fallocate(reserved.fileno(), 0, file.stat().st_size)
    _fill(images, samples, spec, progress)
    images.flush()


def _fill(
    images: NDArray[np.uint8], samples: Sequence[Sample], spec: PreprocessSpec, progress: Progress | None
) -> None:
    def fill(index: int) -> None:
        sample = samples[index]
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
        images[index] = preprocess(decode(data, spec, name=f"image {sample.path}"), spec, colour="rgb")

    work_through(fill, range(len(samples)), progress=progress)
