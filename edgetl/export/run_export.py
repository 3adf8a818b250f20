"""Export a run once: the ONNX file and its parity report are kept in the run and reused while its weights stay."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgetl.data.images import load_images
from edgetl.data.samples import spread
from edgetl.data.split_file import samples_of
from edgetl.errors import RunError
from edgetl.export.onnx import deployable, export_onnx
from edgetl.export.parity import check_parity, engine_logits, flips
from edgetl.files import changing
from edgetl.finetune.store import load_model
from edgetl.run import write_json
from edgetl.versions import versions
from edgetl_runtime import durable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgetl.data.samples import Sample
    from edgetl.run import Run, RunFolder

PARITY_IMAGES = 128
RECORD_FORMAT = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The float model of a run.

    Attributes:
        path: The ONNX file.
        model: Its bytes.
        parity: The report, as JSON.
    """

    path: Path
    model: bytes
    parity: dict[str, Any]


def export_run(folder: RunFolder, run: Run) -> Exported:
    """Export the run's model with parity proven on its validation images, or reuse what is there.

    Raises:
        ParityError: The engines disagree; nothing is written.
        RunError: The run's weights or images are not what they were.
    """
    path = folder.path / "export" / "model.onnx"
    record_path = path.with_suffix(".json")
    key = {"weights": _digest(folder.weights), "versions": versions(), "format": RECORD_FORMAT}
    with changing(folder.path):  # of two that need the same export, the second one waits for it
        known = _exported_before(path, record_path, key)
        if known is not None:
            return known
        path.parent.mkdir(exist_ok=True)
        record = _export(folder, run, path) | {"key": key}
        write_json(record_path, record)
        return Exported(path=path, model=path.read_bytes(), parity=record["parity"])


def _digest(weights: Path) -> str:
    try:
        return hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise RunError(str(weights), "the weights of the run", got, fix="finetune again") from error


def _exported_before(path: Path, record_path: Path, key: dict[str, Any]) -> Exported | None:
    """Return an earlier export of the same weights by the same versions; None where there is none, or it is damaged."""
    try:
        model, record = path.read_bytes(), json.loads(record_path.read_text(encoding="utf-8"))
        fits = record["key"] == key and record["sha256"] == hashlib.sha256(model).hexdigest()
        return Exported(path=path, model=model, parity=record["parity"]) if fits else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _export(folder: RunFolder, run: Run, path: Path) -> dict[str, Any]:
    model = load_model(folder, run)
    samples = spread([s for s in samples_of(folder, run) if s.split == "val"], PARITY_IMAGES)
    images = load_images(samples, run.preprocess)
    unproven = path.with_name("unproven.onnx")
    size_px = (run.preprocess.height_px, run.preprocess.width_px)
    try:
        with torch.no_grad():
            result = export_onnx(model, mean=run.mean, std=run.std, size_px=size_px, path=unproven)
            report = check_parity(deployable(model, mean=run.mean, std=run.std), unproven, images)
        durable.move(unproven, path)
    finally:
        unproven.unlink(missing_ok=True)  # beyond tolerance nothing is left that could be shipped
    frames = _file_against_frame(run, samples, images, path.read_bytes())
    return {"sha256": result.sha256, "parity": dataclasses.asdict(report) | {"file_against_frame": frames}}


def _file_against_frame(run: Run, samples: Sequence[Sample], images: NDArray[np.uint8], model: bytes) -> dict[str, int]:
    """Compare what a station decides on a file with what it decides on the camera's frame of the same image.

    A JPEG may be shrunk while decoding, a frame may not: the tensors differ by a few grey levels.
    """
    frames = load_images(samples, dataclasses.replace(run.preprocess, decode_scale=1))
    differ = np.abs(images.astype(np.int16) - frames).max(axis=(1, 2, 3))
    changed = np.flatnonzero(differ)
    result = {"count": len(images), "tensors_differ": len(changed), "max_grey_levels": int(differ.max()), "flips": 0}
    if len(changed):
        by_file, by_frame = (engine_logits("onnxruntime", model, tensors[changed]) for tensors in (images, frames))
        result["flips"] = flips(by_file, by_frame)
    return result
