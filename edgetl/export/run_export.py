"""Export a run once: the ONNX file and its parity report are kept in the run and reused while its weights stay."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edgetl.data.images import load_images
from edgetl.data.split_file import read_split
from edgetl.export.onnx import deployable, export_onnx
from edgetl.export.parity import check_parity
from edgetl.finetune.store import load_model
from edgetl.run import read_json, write_json
from edgetl.versions import versions

if TYPE_CHECKING:
    from edgetl.run import Run, RunFolder

PARITY_IMAGES = 128


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
    key = {"weights": hashlib.sha256(folder.weights.read_bytes()).hexdigest(), "versions": versions()}
    if path.is_file() and record_path.is_file():
        record = read_json(record_path)
        model = path.read_bytes()
        if record["key"] == key and record["sha256"] == hashlib.sha256(model).hexdigest():
            return Exported(path=path, model=model, parity=record["parity"])
    path.parent.mkdir(exist_ok=True)
    record = _export(folder, run, path) | {"key": key}
    write_json(record_path, record)
    return Exported(path=path, model=path.read_bytes(), parity=record["parity"])


def _export(folder: RunFolder, run: Run, path: Path) -> dict[str, Any]:
    model = load_model(folder, run)
    samples = [s for s in read_split(folder.split_csv, run.classes) if s.split == "val"][:PARITY_IMAGES]
    images = load_images(samples, run.preprocess, cache_dir=None)
    unproven = path.with_name("unproven.onnx")
    with torch.no_grad():
        result = export_onnx(
            model,
            mean=run.mean,
            std=run.std,
            size_px=(run.preprocess.height_px, run.preprocess.width_px),
            path=unproven,
        )
        try:
            report = check_parity(deployable(model, mean=run.mean, std=run.std), unproven, images)
        except BaseException:  # beyond tolerance nothing is left that could be shipped
            unproven.unlink()
            raise
    unproven.replace(path)
    return {"sha256": result.sha256, "parity": dataclasses.asdict(report)}
