"""One phase of training: killed anywhere it resumes to the same weights; rates, averages and early stopping."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from edgetl.data.augment import AugmentConfig
from edgetl.errors import RunError, TrainingError
from edgetl.finetune import loop
from edgetl.finetune.engine import FrozenTrunk
from edgetl.finetune.head import soft_targets
from edgetl.finetune.interrupt import StopFlag
from edgetl.finetune.loop import Examples, Job, PhaseTrainer, set_training
from edgetl.finetune.preset import Phase, Preset

PHASE = Phase(name="top", depth=1.0, megapixels=0.02, epochs_min=3, epochs_max=3, learning_rate=1e-2)
PRESET = Preset(schema_version=1, description="test", resolution=1.0, phases=(PHASE,), batch_size=4)
STEPS = 5  # of an epoch: 22 images in batches of 4, the rest waits


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    del one_thread


def examples(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(0, 256, (count, 12, 12, 3)).astype(np.uint8)
    images[labels == 1] //= 2
    return Examples(images=images, labels=labels, targets=soft_targets(labels, np.ones(count), 2))


def layers():
    torch.manual_seed(0)
    conv = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    pool = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return [conv, pool, torch.nn.Dropout(0.3), torch.nn.Linear(6, 2)]


class Reports(list):
    """Keeps the records of epochs, and asks for a stop after a number of steps."""

    def __init__(self, stop, stop_after=None):
        super().__init__()
        self.stop, self.stop_after = stop, stop_after

    def __call__(self, record):
        if "done" not in record:
            self.append(record)
        elif record["done"] == self.stop_after:
            self.stop.set()


def make(folder, *, phase=PHASE, stop_after=None, seed=0, modules=None, **changes):
    stop = StopFlag()
    job = Job(
        train=examples(22, 1),
        val=examples(10, 2),
        class_weights=np.ones(2, np.float32),
        preset=dataclasses.replace(PRESET, **changes),
        augment=AugmentConfig(),
        seed=seed,
        folder=folder,
        report=Reports(stop, stop_after),
        stop=stop,
    )
    trunk = FrozenTrunk([], mean=(0.5,) * 3, std=(0.5,) * 3, size_px=(12, 12), device=torch.device("cpu"))
    return PhaseTrainer(job, phase, 0, trunk, modules or layers())


def state(trainer):
    return {name: value.numpy().copy() for name, value in trainer.upper.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    trainer = make(tmp_path_factory.mktemp("whole"))
    trainer.run()
    return state(trainer), list(trainer.job.report)


@pytest.mark.parametrize("step", [1, 3, STEPS - 1, STEPS, STEPS + 1, 3 * STEPS - 1, 3 * STEPS])
def test_run_stopped_at_a_step_resumes_to_the_same_weights(step, uninterrupted, tmp_path):
    stopped = make(tmp_path, stop_after=step)
    with pytest.raises(RunError, match=f"a stop in phase 'top' at step {step} of 15"):
        stopped.run()
    resumed = make(tmp_path)
    resumed.run()
    assert equal(state(resumed), uninterrupted[0])
    assert [*stopped.job.report, *resumed.job.report] == uninterrupted[1]


def test_run_killed_between_checkpoints_resumes_to_the_same_weights(uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)  # a checkpoint after each step
    killed = make(tmp_path)
    save, saved = killed._save, []

    def die_at_the_eighth():
        if len(saved) == 8:
            raise KeyboardInterrupt
        saved.append(save())

    monkeypatch.setattr(killed, "_save", die_at_the_eighth)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    resumed = make(tmp_path)
    resumed.run()
    assert equal(state(resumed), uninterrupted[0])


def test_run_of_a_finished_phase_restores_its_best_weights(uninterrupted, tmp_path):
    make(tmp_path).run()
    again = make(tmp_path)
    again.run()
    assert equal(state(again), uninterrupted[0])
    assert not again.job.report


def test_run_depends_on_the_seed_alone(uninterrupted, tmp_path):
    same, other = make(tmp_path / "same"), make(tmp_path / "other", seed=1)
    torch.manual_seed(99)
    same.run()
    other.run()
    assert equal(state(same), uninterrupted[0])
    assert not equal(state(other), uninterrupted[0])


def test_training_leaves_the_statistics_of_batch_normalisation_alone(tmp_path):
    trainer = make(tmp_path)
    norm = trainer.upper[0][1]
    before = (norm.running_mean.clone(), norm.running_var.clone(), norm.weight.detach().clone())
    trainer.run()
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])
    assert not torch.equal(norm.weight, before[2])
    set_training(trainer.upper)
    assert not norm.training
    assert trainer.upper[2].training


def test_training_learns_the_statistics_where_the_network_was_never_trained(tmp_path):
    trainer = make(tmp_path, batch_statistics=True)
    before = trainer.upper[0][1].running_var.clone()
    trainer.run()
    assert not torch.equal(trainer.upper[0][1].running_var, before)


def test_learning_rates_fall_from_the_top_and_only_weights_decay(tmp_path):
    trainer = make(tmp_path, layer_decay=0.5, weight_decay=0.1)
    groups = [
        (g["scale"], g["weight_decay"], sum(p.numel() for p in g["params"])) for g in trainer.optimizer.param_groups
    ]
    # the classifier; dropout has none; the convolution below; the lowest with its normalisation
    assert groups == [(3.0, 0.1, 12), (3.0, 0.0, 2), (0.5, 0.1, 216), (0.5, 0.0, 6), (0.25, 0.1, 108), (0.25, 0.0, 12)]


def test_learning_rate_warms_up_and_falls_as_a_cosine(tmp_path):
    trainer = make(tmp_path, warmup=0.2)  # 3 of 15 steps
    rates = []
    for trainer.step in range(16):
        rates.append(trainer._learning_rate() / PHASE.learning_rate)
    assert rates[:3] == pytest.approx([1 / 4, 2 / 4, 3 / 4])
    assert rates[3:] == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 15)) for step in range(3, 16)])
    assert max(rates) <= 1.0


def test_kept_weights_are_the_averaged_ones(tmp_path):
    phase = dataclasses.replace(PHASE, epochs_min=1, epochs_max=1)
    plain = make(tmp_path / "plain", phase=phase, ema_decay=0.0)
    averaged = make(tmp_path / "averaged", phase=phase, ema_decay=0.99)
    seen = []
    update = averaged.ema.update
    averaged.ema.update = lambda model, step: (update(model, step=step), seen.append(model[3].weight.detach().clone()))
    for trainer in (plain, averaged):
        trainer.run()
    assert torch.equal(plain.upper[3].weight, seen[-1])  # the same training, with and without averaging
    found = averaged.upper[3].weight.detach()
    assert not torch.equal(found, seen[-1])
    low, high = torch.stack(seen).amin(dim=0), torch.stack(seen).amax(dim=0)
    start = layers()[3].weight.detach()
    assert ((found >= torch.minimum(low, start) - 1e-6) & (found <= torch.maximum(high, start) + 1e-6)).all()


def test_run_ends_early_where_validation_no_longer_improves(tmp_path):
    phase = dataclasses.replace(PHASE, epochs_min=9, epochs_max=9, learning_rate=0.0, patience=2)
    trainer = make(tmp_path, phase=phase)
    before = state(trainer)
    trainer.run()
    assert [record["epoch"] for record in trainer.job.report] == [1, 2, 3]
    assert equal(state(trainer), before)


def test_run_ends_early_where_gains_are_too_small_to_matter_and_keeps_them(tmp_path, monkeypatch):
    losses = iter([0.0050 - 0.0001 * epoch for epoch in range(9)])
    monkeypatch.setattr(loop, "calibrated_log_loss", lambda *_: next(losses))
    trainer = make(tmp_path, phase=dataclasses.replace(PHASE, epochs_min=9, epochs_max=9, patience=3))
    trainer.run()
    assert trainer.step == (1 + 3) * STEPS
    assert trainer.best_loss == pytest.approx(0.0047)


def test_run_that_diverges_is_an_error_and_says_so(tmp_path):
    phase = dataclasses.replace(PHASE, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"must be finite; got (nan|inf|NaN)"):
        make(tmp_path, phase=phase, layer_decay=1.0).run()


def test_batch_is_no_larger_than_the_training_set(tmp_path):
    trainer = make(tmp_path, batch_size=64)
    assert (trainer.batch_size, trainer.steps_per_epoch, trainer.total_steps) == (22, 1, 3)
