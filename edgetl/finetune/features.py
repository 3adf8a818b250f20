"""Features of the frozen backbone: computed once by the deployment engine and cached by all they depend on."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.errors import StoppedError
from edgetl.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgetl.finetune.engine import FrozenTrunk
    from edgetl.finetune.interrupt import StopFlag

BATCH = 16


def cache_dir() -> Path:
    """Return where caches live: `$EDGETL_CACHE`, else `edgetl` below the user's cache folder."""
    chosen = os.environ.get("EDGETL_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl"


def feature_key(images_key: str, weights: str, backbone: str, device: str) -> str:
    """Name a feature file by content, preprocessing, weights, engine and version, precision and instruction set.

    Args:
        images_key: Digest of image contents, their order and the preprocessing.
        weights: SHA-256 of the pretrained weights; for random ones the seed.
        backbone: Name of the backbone.
        device: Type of the device the features are computed on.
    """
    import openvino
    import timm
    import torch

    from edgetl_runtime.probe import facts

    parts = {
        "images": images_key,
        "weights": weights,
        "backbone": [backbone, f"timm {timm.__version__}"],
        "engine": f"openvino {openvino.__version__} f32" if device == "cpu" else f"torch {torch.__version__} f16",
        "isa": [platform.machine(), *sorted(facts().cpu_flags)],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def cached_features(
    key: str, compute: Callable[[], NDArray[np.float32]], *, n: int, note: Callable[[str], Any] = lambda _: None
) -> NDArray[np.float32]:
    """Return features (N, F) from the cache, or compute and keep them; a damaged file is computed again.

    Args:
        key: Of everything they depend on.
        compute: Makes them.
        n: Number of images.
        note: Told where they cannot be kept, which costs the next run the time but this one nothing.
    """
    path = cache_dir() / f"features-{key}.npy"
    if path.is_file():
        try:
            known: NDArray[np.float32] = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError):
            with contextlib.suppress(OSError):  # another process may have found it too, or the folder is read-only
                path.unlink()
        else:
            if known.ndim == 2 and len(known) == n and known.dtype == np.float32:
                return known
    features = compute()
    try:
        _write(path, features)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        note(f"features are not kept: {path.parent}: {reason}; EDGETL_CACHE names another folder")
    return features


def extract(
    trunk: FrozenTrunk, images: NDArray[np.uint8], *, progress: Callable[[int, int], Any], stop: StopFlag
) -> NDArray[np.float32]:
    """Run images (N, H, W, 3) through a trunk that ends in pooled features.

    Raises:
        StoppedError: A stop was asked for.
    """
    parts = []
    for start in range(0, len(images), BATCH):
        if stop:
            raise StoppedError(
                "the run", "finished", "a stop while extracting features", fix="the same command with --resume"
            )
        parts.append(trunk(np.ascontiguousarray(images[start : start + BATCH])).cpu().numpy())
        progress(min(start + BATCH, len(images)), len(images))
    return np.concatenate(parts).astype(np.float32)


def _write(path: Path, features: NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    write_whole(path, buffer.getvalue())
