"""The weights of a run are read whole or refused; predictions say what the run would decide."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgetl.errors import RunError
from edgetl.finetune.store import load_model


def test_load_model_computes_the_scores_of_the_run(run_folder):
    from edgetl.data.images import load_images
    from edgetl.data.split_file import read_split
    from edgetl.export.onnx import deployable
    from edgetl_runtime.tasks.inspection import TASK
    from edgetl_runtime.tasks.softmax import probabilities

    run = run_folder.read()
    samples = [s for s in read_split(run_folder.split_csv, run.classes) if s.split == "test"]
    model = deployable(load_model(run_folder, run), mean=run.mean, std=run.std)
    with torch.no_grad():
        logits = model(torch.from_numpy(load_images(samples, run.preprocess))).numpy()
    decisions = TASK.decided(probabilities(logits, run.params.temperature), run.labels, run.params)
    with run_folder.predictions.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert [row["path"] for row in rows] == [str(s.path) for s in samples]
    assert [(row["predicted"], row["verdict"]) for row in rows] == [(d.label, d.verdict) for d in decisions]
    written = np.array([float(row["defect_score"]) for row in rows])
    np.testing.assert_allclose(written, [d.defect_score for d in decisions], atol=1e-3)


@pytest.mark.parametrize("damage", ["missing", "truncated", "of another network"])
def test_load_model_refuses_weights_that_are(damage, run_folder):
    run = run_folder.read()
    if damage == "missing":
        run_folder.weights.unlink()
    elif damage == "truncated":
        run_folder.weights.write_bytes(run_folder.weights.read_bytes()[:-100])
    else:
        tensors = load_file(run_folder.weights)
        tensors.pop(min(tensors))
        save_file(tensors, run_folder.weights)
    with pytest.raises(RunError, match=r"weights.safetensors must be the weights of tf_efficientnet_lite0; got"):
        load_model(run_folder, run)
