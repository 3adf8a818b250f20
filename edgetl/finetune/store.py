"""The files of a run beside `run.json`: the split, the weights, the predictions."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from edgetl_runtime.tasks.classification import decide

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from edgetl.data.samples import Dataset, Sample
    from edgetl.run import Run

SPLIT_COLUMNS = ("path", "label", "split", "group", "certainty", "sha256")
PREDICTION_COLUMNS = ("path", "split", "label", "predicted", "score", "defect_score", "verdict")


def write_split(path: Path, data: Dataset) -> None:
    """Write every image with its split and content digest."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(SPLIT_COLUMNS)
        for s in data.samples:
            writer.writerow([s.path.resolve(), data.classes[s.label], s.split, s.group or "", s.certainty, s.sha256])


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the network's tensors as safetensors: temporary file, then rename."""
    temporary = path.with_name(path.name + ".part")
    save_file({k: v.contiguous() for k, v in model.cpu().state_dict().items()}, temporary)
    temporary.replace(path)


def write_predictions(
    path: Path, data: Dataset, rows: Sequence[tuple[Sequence[Sample], NDArray[np.float32]]], run: Run
) -> None:
    """Write the scores of every evaluated image."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(PREDICTION_COLUMNS)
        for samples, logits in rows:
            decisions = decide(
                logits,
                classes=run.classes,
                defect_classes=run.defect_classes,
                thresholds=run.thresholds,
                temperature=run.temperature,
            )
            for s, d in zip(samples, decisions, strict=True):
                scores = (f"{d.score:.6f}", f"{d.defect_score:.6f}")
                writer.writerow([s.path.resolve(), s.split, data.classes[s.label], d.label, *scores, d.verdict])
