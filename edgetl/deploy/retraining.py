"""The float model of a run, trained against int8 rounding: made once for a way of rounding and kept in the run."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgetl.errors import RunError
from edgetl.versions import versions
from edgetl_runtime.errors import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgetl.data.samples import Sample
    from edgetl.run import Run, RunFolder


def retrained(
    folder: RunFolder,
    run: Run,
    train: Sequence[Sample],
    rounding: str,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> bytes:
    """Return the float ONNX model after quantization-aware training, or what an earlier call made of the same weights.

    Args:
        folder: Of the run.
        run: What it holds.
        train: The training split; validation and test stay unseen.
        rounding: Of activations, `asymmetric` or `symmetric`.
        progress: Called with images seen and images in all.

    Raises:
        EdgetlError: The weights or the images cannot be read, or the training diverged.
    """
    try:
        weights = folder.weights.read_bytes()
    except OSError as error:
        raise unreadable(RunError, str(folder.weights), error, path=folder.weights) from error
    key = hashlib.sha256(weights + repr(sorted(versions().items())).encode()).hexdigest()[:16]
    path = folder.path / "quantized" / f"retrained-{rounding}-{key}.onnx"
    if not path.is_file():
        _retrain(folder, run, train, rounding, path, progress)
    return path.read_bytes()


def _retrain(
    folder: RunFolder,
    run: Run,
    train: Sequence[Sample],
    rounding: str,
    path: Path,
    progress: Callable[[int, int], None],
) -> None:
    from edgetl.data.images import load_images
    from edgetl.export.onnx import export_onnx
    from edgetl.finetune.quantization_aware import adapt
    from edgetl.finetune.store import load_model

    taught = adapt(
        load_model(folder, run),
        load_images(train, run.preprocess),
        mean=run.mean,
        std=run.std,
        symmetric=rounding == "symmetric",
        seed=run.config["seed"],
        progress=progress,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    size_px = (run.preprocess.height_px, run.preprocess.width_px)
    export_onnx(taught, mean=run.mean, std=run.std, size_px=size_px, path=path)  # replaced atomically
