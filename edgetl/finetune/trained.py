"""The third stage of a fine-tuning: staged unfreezing, kept only where validation prefers it to the baseline."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.errors import TrainingError
from edgetl.finetune.engine import FrozenTrunk, split_at_depth
from edgetl.finetune.loop import Examples, Job, PhaseTrainer, predict
from edgetl.tasks.classes import calibrated_log_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl.finetune.baseline import Baseline
    from edgetl.finetune.prepared import Network, Prepared
    from edgetl.finetune.work import Work


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """Which of the two models validation preferred; the network holds its weights.

    Attributes:
        kept: That one.
        finetuned_val: Logits of the fine-tuned model on validation, float32 (N, C), also where it was not kept; None
            where nothing was trained or training diverged.
        engine: The fine-tuned network, run by the deployment engine; None where it was not kept.
        seconds: Wall time of training.
    """

    kept: Literal["baseline", "finetuned"]
    finetuned_val: NDArray[np.float32] | None = None
    engine: FrozenTrunk | None = None
    seconds: float = 0.0

    def val_logits(self, baseline: Baseline) -> NDArray[np.float32]:
        """Return what the kept model says of validation."""
        return baseline.val_logits if self.finetuned_val is None or self.kept == "baseline" else self.finetuned_val

    def test_logits(self, baseline: Baseline, test: Examples) -> NDArray[np.float32]:
        """Return what the kept model says of test."""
        return baseline.test_logits if self.engine is None else logits_of(self.engine, test)


def logits_of(engine: FrozenTrunk, examples: Examples) -> NDArray[np.float32]:
    """Return the logits of a whole network, float32 (N, C)."""
    return predict(engine, torch.nn.Identity(), examples.images)


def train(prepared: Prepared, network: Network, baseline: Baseline, work: Work) -> Trained:
    """Unfreeze from the top, phase by phase; go back to the baseline where that is no better on validation."""
    if not prepared.preset.phases:
        return Trained(kept="baseline")
    before = {k: v.detach().clone() for k, v in network.model.state_dict().items()}
    started = time.monotonic()
    diverged = False
    if prepared.preset.batch_statistics:  # a head fitted to random features is far too loud for what will follow
        torch.nn.init.zeros_(network.classifier.weight)
        torch.nn.init.zeros_(network.classifier.bias)
    try:
        _train_phases(prepared, network, baseline, work)
    except TrainingError as error:
        work.progress.note(f"fine-tuning diverged: {error.sentence}")
        diverged = True
    seconds = time.monotonic() - started
    engine = None if diverged else network.trunk([*network.segments, network.classifier])
    logits = None if engine is None else logits_of(engine, prepared.val)
    if logits is not None and not np.isfinite(logits).all():
        logits = None
    labels = prepared.val.labels
    if logits is not None and calibrated_log_loss(logits, labels) < calibrated_log_loss(baseline.val_logits, labels):
        return Trained(kept="finetuned", finetuned_val=logits, engine=engine, seconds=seconds)
    work.progress.note(
        "negative transfer: fine-tuning is no better on validation than the frozen baseline, which is kept"
    )
    network.model.load_state_dict(before)
    return Trained(kept="baseline", finetuned_val=logits, seconds=seconds)


def _train_phases(prepared: Prepared, network: Network, baseline: Baseline, work: Work) -> None:
    preset, count = prepared.preset, len(network.segments)
    for index, phase in enumerate(preset.phases):
        depth = preset.depth_of(phase, images=len(prepared.train.images), baseline=baseline.balanced)
        frozen, learning = split_at_depth(list(network.segments), depth)
        layers = [*learning, torch.nn.Dropout(preset.dropout), network.classifier]
        with work.progress.stage(f"unfreeze '{phase.name}' ({len(learning)} of {count} segments)") as advance:
            job = Job(
                train=prepared.train,
                val=prepared.val,
                class_weights=baseline.class_weights,
                preset=preset,
                augment=baseline.augment,
                seed=prepared.config.seed,
                folder=work.folder.checkpoints,
                report=functools.partial(_report, work, advance),
                stop=work.stop,
            )
            PhaseTrainer(job, phase, index, network.trunk(frozen), layers).run()


def _report(work: Work, advance: Callable[[int, int], None], record: dict[str, Any]) -> None:
    if "done" in record:
        advance(record["done"] * record["images"], record["total"] * record["images"])
        return
    work.record(record)
    work.progress.note(
        f"  {record['phase']} {record['epoch']}/{record['epochs']}: train loss {record['train_loss']:.3f}, "
        f"validation log-loss {record['val_log_loss']:.3f}, accuracy {record['val_accuracy']:.3f}"
    )
