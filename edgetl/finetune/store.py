"""The files of a run beside `run.json`: the weights and the predictions."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from edgetl import backbones, tasks
from edgetl.backbones.build import build
from edgetl.errors import RunError
from edgetl.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from edgetl.data.samples import Dataset, Sample
    from edgetl.run import Run, RunFolder

PREDICTION_COLUMNS = ("path", "split", "label", "predicted", "score", "verdict")


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
    writer, task = csv.writer(text), tasks.get(run.task)
    header: tuple[str, ...] = ()
    for samples, logits in rows:
        decisions = task.device.decide({"logits": logits}, run.labels, run.params)
        for s, d in zip(samples, decisions, strict=True):
            found = d.details()
            if not header:
                header = (*PREDICTION_COLUMNS, *found)
                writer.writerow(header)
            more = (f"{value:.6f}" for value in found.values())
            row = [s.path.resolve(), s.split, data.classes[s.label], d.label, f"{d.score:.6f}", d.verdict]
            writer.writerow([*row, *more])
    return write_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))
