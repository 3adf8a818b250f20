"""The files of a run beside `run.json`: the weights and the predictions."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from edgetl import backbones
from edgetl.backbones.build import build
from edgetl.errors import RunError
from edgetl.files import write_whole
from edgetl_runtime.tasks.inspection import TASK
from edgetl_runtime.tasks.softmax import probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from edgetl.data.samples import Dataset, Sample
    from edgetl.run import Run, RunFolder

PREDICTION_COLUMNS = ("path", "split", "label", "predicted", "score", "defect_score", "verdict")


def save_weights(path: Path, model: nn.Module) -> str:
    """Write the network's tensors as safetensors, whole or not at all; return the file's SHA-256."""
    return write_whole(path, save({k: v.contiguous() for k, v in model.cpu().state_dict().items()}))


def load_model(folder: RunFolder, run: Run) -> nn.Module:
    """Build the run's network with the run's weights, in evaluation mode.

    Raises:
        RunError: The weights are missing, damaged or of another network.
    """
    model = build(backbones.get(run.backbone), num_classes=len(run.classes), weights=None, image_px=run.image_px)
    try:
        model.load_state_dict(load_file(folder.weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        got = " ".join(str(error).split())[:200]
        raise RunError(str(folder.weights), f"the weights of {run.backbone}", got, fix="finetune again") from error
    return model.eval()


def write_predictions(
    path: Path, data: Dataset, rows: Sequence[tuple[Sequence[Sample], NDArray[np.float32]]], run: Run
) -> str:
    """Write the scores of every evaluated image; return the file's SHA-256."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(PREDICTION_COLUMNS)
    for samples, logits in rows:
        decisions = TASK.decided(probabilities(logits, run.temperature), run.labels, run.params)
        for s, d in zip(samples, decisions, strict=True):
            scores = (f"{d.score:.6f}", f"{d.defect_score:.6f}")
            writer.writerow([s.path.resolve(), s.split, data.classes[s.label], d.label, *scores, d.verdict])
    return write_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))
