"""Fine-tuning from data to run: what hurts is reported and never shipped."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgetl import backbones
from edgetl.backbones.build import build
from edgetl.config import FinetuneConfig
from edgetl.errors import DataError, StoppedError
from edgetl.finetune.baseline import fit_baseline
from edgetl.finetune.engine import split_at_depth
from edgetl.finetune.evaluated import evaluate
from edgetl.finetune.interrupt import StopFlag
from edgetl.finetune.pipeline import finetune as compute
from edgetl.finetune.pipeline import run_stages
from edgetl.finetune.prepared import build_network, prepare
from edgetl.finetune.preset import Phase, Preset
from edgetl.finetune.trained import train
from edgetl.finetune.work import Work
from edgetl.progress import Progress
from edgetl.run import RunFolder
from edgetl_runtime.errors import UsageError

GENTLE = Phase(name="top", depth=0.3, megapixels=0.01, epochs_min=2, epochs_max=2, learning_rate=1e-4)


class Notes(Progress):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(quiet=True)
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def configured(data, *, aims=None, **changes):
    options = {"backbone": "timm/test_efficientnet", "weights": "none", "image_size": 32}
    return FinetuneConfig(data=str(data), aims={"defect": ["hole"], **(aims or {})}, **{**options, **changes})


def preset_of(*phases):
    return Preset(schema_version=1, description="test", resolution=1.0, phases=phases, batch_size=8)


@pytest.fixture(scope="module")
def parts(make_parts, one_thread, tmp_path_factory):
    del one_thread
    return make_parts(tmp_path_factory.mktemp("data") / "parts", counts={"good": 14, "hole": 14})


@pytest.fixture(scope="module")
def finetune(parts, tmp_path_factory):
    data = parts

    def run(*phases, **changes):
        folder, notes = RunFolder(tmp_path_factory.mktemp("runs") / "run"), Notes()
        work = Work(folder=folder, progress=notes, stop=StopFlag())
        return run_stages(configured(data, **changes), preset_of(*phases), work), folder, notes.notes

    return run


@pytest.fixture(scope="module")
def baseline(finetune):
    run, folder, _ = finetune()
    return run, load_file(folder.weights)


@pytest.mark.parametrize(
    ("rate", "words"), [(30.0, "negative transfer"), (1e30, "fine-tuning diverged")], ids=["hurts", "diverges"]
)
def test_fine_tuning_that_hurts_keeps_the_baseline_and_says_so(rate, words, finetune, baseline):
    run, folder, notes = finetune(dataclasses.replace(GENTLE, depth=1.0, learning_rate=rate))
    assert run.kept == "baseline"
    assert any(words in note for note in notes)
    assert any("negative transfer" in note for note in notes)
    assert run.test == run.baseline_test == baseline[0].test
    assert all(torch.equal(value, baseline[1][name]) for name, value in load_file(folder.weights).items())


def test_preset_for_random_weights_refuses_pretrained_ones_and_is_named_where_there_are_none(tmp_path):
    with pytest.raises(UsageError, match="used with --weights none; got --weights auto"):
        compute(FinetuneConfig(data="parts", preset="scratch"), RunFolder(tmp_path / "run"), Notes())
    notes = Notes()
    with pytest.raises(DataError):
        compute(FinetuneConfig(data=str(tmp_path), weights="none"), RunFolder(tmp_path / "run"), notes)
    assert "for random ones use --preset scratch" in notes.notes[0]


def test_better_of_the_two_models_is_kept(finetune, baseline):
    run, folder, notes = finetune(
        dataclasses.replace(GENTLE, depth=1.0, learning_rate=3e-3, epochs_min=4, epochs_max=4)
    )
    found = load_file(folder.weights)
    assert run.finetuned_val is not None
    assert run.baseline_test == baseline[0].baseline_test  # of the pretrained backbone, whatever was trained since
    same = all(torch.equal(found[name], value) for name, value in baseline[1].items())
    better = run.finetuned_val["log_loss"] < run.baseline_val["log_loss"]
    assert (run.kept == "finetuned") == better == (not same)
    assert any("negative transfer" in note for note in notes) == (not better)
    assert run.val == (run.finetuned_val if better else run.baseline_val)


def test_a_band_of_unsure_stands_in_the_runs_thresholds_around_the_fitted_cut(finetune, baseline):
    run, _, _ = finetune(aims={"unsure_band": 0.1})
    cut = baseline[0].params.thresholds.nok_at
    assert run.params.thresholds.nok_at == min(cut + 0.05, 1.0)
    assert run.params.thresholds.ok_below == max(cut - 0.05, 0.0)


def test_same_seed_gives_the_same_weights(finetune):
    rate = dataclasses.replace(GENTLE, depth=1.0, learning_rate=3e-3)
    first, second = (load_file(finetune(rate)[1].weights) for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_frozen_layers_and_statistics_of_normalisation_stay_the_pretrained_ones(finetune):
    torch.manual_seed(0)
    pretrained = build(backbones.get("mobilenetv3_small_100"), num_classes=2, weights=None, image_px=32)
    before = pretrained.state_dict()
    _, folder, _ = finetune(dataclasses.replace(GENTLE, learning_rate=1e-3), backbone="mobilenetv3_small_100")
    found = load_file(folder.weights)
    assert torch.equal(found["conv_stem.weight"], before["conv_stem.weight"])
    for name, value in found.items():
        if "running_" in name:
            assert torch.equal(value, before[name]), name


def test_class_counts_and_conditions_are_in_the_run(baseline):
    run = baseline[0]
    counts = run.data["counts"]
    assert sum(counts[split]["hole"] for split in ("train", "val", "test")) == 14
    assert run.val["n"] == sum(counts["val"].values())
    assert run.conditions["torch_threads"] == 1
    assert {"load_before", "load_after", "fingerprint", "device"} <= run.conditions.keys()
    assert run.weights["kind"] == "none"


@pytest.mark.parametrize(("depth", "learning"), [(0.0, 1), (0.34, 3), (0.5, 5), (1.0, 9)])
def test_split_at_depth_counts_from_the_top(depth, learning):
    modules = list(range(9))
    frozen, upper = split_at_depth(modules, depth)
    assert frozen + upper == modules
    assert len(upper) == learning or np.isclose(len(upper), depth * 9, atol=0.5)


def test_every_stage_is_a_value_that_can_be_had_alone(parts, tmp_path):
    notes = Notes()
    work = Work(folder=RunFolder(tmp_path), progress=notes, stop=StopFlag())
    phase = dataclasses.replace(GENTLE, depth=1.0, learning_rate=3e-3)
    prepared = prepare(configured(parts), preset_of(phase), work)
    assert (prepared.image_px, prepared.labels.defect_classes) == (32, ("hole",))
    assert len(prepared.train.images) + len(prepared.val.images) + len(prepared.test.images) == 28
    assert list(tmp_path.iterdir()) == []  # nothing is written before all of it is known to be usable
    network = build_network(prepared)
    before = {name: value.clone() for name, value in network.model.state_dict().items()}
    baseline = fit_baseline(prepared, network, work)
    assert baseline.val_logits.shape == (len(prepared.val.images), 2)
    assert np.allclose(network.classifier.weight.detach().numpy(), baseline.head.weight)
    trained = train(prepared, network, baseline, work)
    evaluated = evaluate(prepared, baseline, trained)
    assert evaluated.val["n"] == len(prepared.val.images)
    backbone_changed = any(
        not torch.equal(value, before[name])
        for name, value in network.model.state_dict().items()
        if not name.startswith("classifier")
    )
    assert backbone_changed == (trained.kept == "finetuned")
    for value in (work, prepared, network, baseline, trained, evaluated):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)


def test_a_stop_between_two_images_ends_the_first_stage(parts, tmp_path):
    work = Work(folder=RunFolder(tmp_path), progress=Notes(), stop=StopFlag())
    work.stop.set()
    with pytest.raises(StoppedError, match="a stop while reading images"):
        prepare(configured(parts), preset_of(), work)
