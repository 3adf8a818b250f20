"""The retrained float model is made once, from training images alone, and kept in the run."""

from __future__ import annotations

import functools
import shutil

import numpy as np
import pytest

from edgetl.data.split_file import read_split
from edgetl.deploy.retraining import retrained
from edgetl.errors import RunError
from edgetl.export.run_export import export_run
from edgetl.finetune import quantization_aware
from edgetl.quantize import graph, observe
from edgetl.run import RunFolder


@pytest.fixture
def folder(deployed, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization_aware, "Schedule", functools.partial(quantization_aware.Schedule, images=32))
    return RunFolder(shutil.copytree(deployed.run, tmp_path / "copy"))


def train_of(folder):
    return [s for s in read_split(folder.split_csv, folder.read().classes) if s.split == "train"]


def test_retrained_model_takes_the_run_s_pixels_and_stays_near_the_float_model(folder):
    run, told = folder.read(), []
    model = retrained(folder, run, train_of(folder), "asymmetric", lambda *at: told.append(at))
    size = (8, run.preprocess.height_px, run.preprocess.width_px, 3)
    images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    before, after = (observe.logits(graph.load(m), images) for m in (export_run(folder, run).model, model))
    assert told[-1] == (32, 32)
    assert 0 < np.abs(before - after).max() < 1.0


def test_retrained_model_is_made_once_for_a_way_of_rounding(folder):
    run = folder.read()
    first = retrained(folder, run, train_of(folder), "symmetric")
    assert retrained(folder, run, [], "symmetric") == first  # no image is needed again
    assert retrained(folder, run, train_of(folder), "asymmetric") != first


def test_retraining_without_the_weights_is_one_sentence(folder):
    run = folder.read()
    folder.weights.unlink()
    with pytest.raises(RunError, match=r"cannot read .*weights\.safetensors"):
        retrained(folder, run, train_of(folder), "symmetric")
