"""One phase of staged unfreezing: a training loop that can be killed at any step and resumed to the same weights.

Nothing random is carried from step to step: the order of the images, their augmentation and dropout are functions of
(seed, phase, epoch, image), so a resumed phase repeats exactly what an uninterrupted one does.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.utils.model_ema import ModelEmaV3
from torch.nn import functional

from edgetl.data.augment import AugmentConfig, augment
from edgetl.errors import StoppedError, TrainingError
from edgetl.finetune.checkpoint import load_checkpoint, save_checkpoint
from edgetl.finetune.engine import autocast
from edgetl.finetune.interrupt import StopFlag
from edgetl.finetune.preset import Preset
from edgetl.tasks.classes import calibrated_log_loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from edgetl.finetune.engine import FrozenTrunk
    from edgetl.finetune.preset import Phase

CHECKPOINT_EVERY_S = 60.0
WORTHWHILE = 1e-3  # nats; an epoch that gains less on validation counts as one without progress


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Images with targets.

    Attributes:
        images: uint8 (N, H, W, 3), preprocessed, may be a memory map.
        labels: int64 (N,).
        targets: float32 (N, C), soft targets; equal to the one-hot labels where nothing is in doubt.
        groups: What each image belongs to; empty where that is not asked.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    targets: NDArray[np.float32]
    groups: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything a phase needs that is not the model.

    Attributes:
        train: What is learned from.
        val: What early stopping looks at.
        class_weights: float32 (C,), in the loss.
        preset: Hyperparameters.
        augment: Label-preserving augmentation.
        seed: Of order, augmentation and dropout.
        folder: Where checkpoints are kept.
        report: Called with a mapping after each epoch, and with {"phase", "done", "total"} after each step.
        stop: Asked after each step.
    """

    train: Examples
    val: Examples
    class_weights: NDArray[np.float32]
    preset: Preset
    augment: AugmentConfig
    seed: int
    folder: Path
    report: Callable[[dict[str, Any]], None]
    stop: StopFlag


class PhaseTrainer:
    """Trains the upper part of a network on the activations of a frozen trunk.

    Args:
        job: Data and hyperparameters.
        phase: Depth, length and rate.
        index: Position of the phase in the preset.
        trunk: The frozen part, called on uint8 batches.
        layers: The trainable modules in running order, the classifier last; trained in place.
    """

    def __init__(self, job: Job, phase: Phase, index: int, trunk: FrozenTrunk, layers: list[nn.Module]) -> None:
        self.job, self.phase, self.index, self.trunk = job, phase, index, trunk
        self.upper = torch.nn.Sequential(*layers).to(trunk.device)
        height, width = job.train.images.shape[1:3]
        self.epochs = phase.epochs(images=len(job.train.images), pixels=height * width)
        self.batch_size = min(job.preset.batch_size, len(job.train.images))
        self.steps_per_epoch = len(job.train.images) // self.batch_size  # the rest waits for another epoch's order
        self.optimizer = torch.optim.AdamW(self._parameter_groups(layers), lr=phase.learning_rate)
        self.ema = ModelEmaV3(self.upper, decay=job.preset.ema_decay, use_warmup=True)
        self.scaler = torch.amp.GradScaler("cuda", enabled=trunk.device.type == "cuda")
        self.weights = torch.from_numpy(job.class_weights).to(trunk.device)
        self.step = 0
        self.best_loss = math.inf
        self.best: dict[str, Tensor] = {}
        self.bad_epochs = 0
        self.loss_sum = 0.0

    @property
    def checkpoint(self) -> Path:
        """The file this phase is resumed from."""
        return self.job.folder / f"phase{self.index}.pt"

    @property
    def total_steps(self) -> int:
        """Steps of the whole phase."""
        return self.epochs * self.steps_per_epoch

    def run(self) -> None:
        """Train from where the checkpoint left off; afterwards the layers hold the best averaged weights.

        Raises:
            StoppedError: A stop was asked for; the run can be resumed.
            TrainingError: The loss is no longer finite.
        """
        self._restore()
        saved_at = time.monotonic()
        while self.step < self.total_steps and self.bad_epochs < self.phase.patience:
            epoch = self.step // self.steps_per_epoch
            for batch in self._batches(epoch, self.step % self.steps_per_epoch):
                self._train_step(*batch)
                self.job.report(
                    {"phase": self.phase.name, "done": self.step, "total": self.total_steps, "images": self.batch_size}
                )
                if self.step % self.steps_per_epoch == 0:
                    break  # what follows an epoch belongs to its last step: no checkpoint between the two
                if self.job.stop or time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                    self._save()
                    saved_at = time.monotonic()
                    self._check_stop()
            self._end_epoch(epoch)
            self._save()
            saved_at = time.monotonic()
            self._check_stop()
        self.upper.load_state_dict(self.best)

    def _check_stop(self) -> None:
        if self.job.stop:
            got = f"a stop in phase '{self.phase.name}' at step {self.step} of {self.total_steps}"
            raise StoppedError("the run", "finished", got, fix="the same command with --resume")

    def _parameter_groups(self, layers: list[nn.Module]) -> list[dict[str, Any]]:
        """Lower layers learn more slowly (arXiv 1801.06146), the new classifier three times as fast."""
        groups: list[dict[str, Any]] = []
        for below_top, layer in enumerate(reversed(layers)):
            scale = 3.0 if below_top == 0 else self.job.preset.layer_decay ** (below_top - 1)
            for decays in (True, False):
                parameters = [p for p in layer.parameters() if (p.ndim > 1) == decays]
                if parameters:
                    weight_decay = self.job.preset.weight_decay if decays else 0.0
                    groups.append({"params": parameters, "scale": scale, "weight_decay": weight_decay})
        return groups

    def _learning_rate(self) -> float:
        """Linear warm-up, then cosine to zero (arXiv 1608.03983)."""
        progress = self.step / self.total_steps
        if progress < self.job.preset.warmup:
            return self.phase.learning_rate * (self.step + 1) / (self.job.preset.warmup * self.total_steps + 1)
        return self.phase.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def _batches(self, epoch: int, skip: int) -> Iterator[tuple[NDArray[np.uint8], Tensor]]:
        """Yield augmented batches of one epoch; the next one is prepared while the last one trains."""
        order = np.random.default_rng([self.job.seed, self.index, epoch]).permutation(len(self.job.train.images))
        chunks = [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(skip, self.steps_per_epoch)]
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._prepare, epoch, chunk) for chunk in chunks[:2]]
            for i, chunk in enumerate(chunks):
                yield waiting.pop(0).result(), torch.from_numpy(self.job.train.targets[chunk]).to(self.trunk.device)
                if i + 2 < len(chunks):
                    waiting.append(pool.submit(self._prepare, epoch, chunks[i + 2]))

    def _prepare(self, epoch: int, chunk: NDArray[np.int64]) -> NDArray[np.uint8]:
        seeds = (np.random.default_rng([self.job.seed, self.index, epoch, int(i)]) for i in chunk)
        return np.stack(
            [augment(self.job.train.images[i], rng, self.job.augment) for i, rng in zip(chunk, seeds, strict=True)]
        )

    def _train_step(self, images: NDArray[np.uint8], targets: Tensor) -> None:
        torch.manual_seed(hash((self.job.seed, self.index, self.step)))  # dropout of this step
        set_training(self.upper, batch_statistics=self.job.preset.batch_statistics)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate() * group["scale"]
        activations = self.trunk(images)
        with autocast(self.trunk.device):
            logits = self.upper(activations).float()
        smoothing = self.job.preset.label_smoothing
        smooth = targets * (1 - smoothing) + smoothing / targets.shape[1]
        loss = -(smooth * self.weights * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()
        if not torch.isfinite(loss):
            raise TrainingError(
                "the training loss",
                "finite",
                f"{loss.item()} at step {self.step}",
                fix="--preset fast, or check the images",
            )
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.ema.update(self.upper, step=self.step)
        self.loss_sum += loss.item()

    def _end_epoch(self, epoch: int) -> None:
        logits = predict(self.trunk, self.ema.module, self.job.val.images)
        if not np.isfinite(logits).all():
            got = f"NaN or infinity after epoch {epoch + 1}"
            raise TrainingError("the scores on validation", "finite", got, fix="--preset fast, or check the images")
        val_loss = calibrated_log_loss(logits, self.job.val.labels)
        self.bad_epochs = 0 if val_loss < self.best_loss - WORTHWHILE else self.bad_epochs + 1
        if val_loss < self.best_loss:
            self.best_loss = val_loss
            self.best = {k: v.detach().clone() for k, v in self.ema.module.state_dict().items()}
        self.job.report(
            {
                "phase": self.phase.name,
                "epoch": epoch + 1,
                "epochs": self.epochs,
                "train_loss": self.loss_sum / self.steps_per_epoch,
                "val_log_loss": val_loss,
                "val_accuracy": float((logits.argmax(axis=1) == self.job.val.labels).mean()),
                "learning_rate": self._learning_rate(),
            }
        )
        self.loss_sum = 0.0

    def _save(self) -> None:
        state = {
            "upper": self.upper.state_dict(),
            "ema": self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": self.best,
            "numbers": [self.step, self.best_loss, self.bad_epochs, self.loss_sum],
        }
        save_checkpoint(self.checkpoint, state)

    def _restore(self) -> None:
        state = load_checkpoint(self.checkpoint)
        if state is None:
            return
        self.upper.load_state_dict(state["upper"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.best = state["best"]
        self.step, self.best_loss, self.bad_epochs, self.loss_sum = state["numbers"]


def set_training(module: nn.Module, *, batch_statistics: bool = False) -> None:
    """Put a network into training mode; batch normalisation keeps its pretrained statistics unless told otherwise.

    Batches are small and part images far from the pretraining's photographs: statistics of single batches change what
    the network computes so much that the fitted head no longer fits.
    """
    module.train()
    for layer in module.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) and not batch_statistics:
            layer.eval()


def predict(
    trunk: FrozenTrunk, upper: nn.Module, images: NDArray[np.uint8], batch_size: int = 32
) -> NDArray[np.float32]:
    """Run trunk and upper part in evaluation mode, in batches.

    Args:
        trunk: The frozen part.
        upper: The rest; put into evaluation mode.
        images: uint8 (N, H, W, 3).
        batch_size: Images per call.

    Returns:
        float32 (N, F): logits, or features where `upper` ends before the classifier.
    """
    upper.eval()
    with torch.no_grad():
        parts = [
            upper(trunk(images[i : i + batch_size])).float().cpu().numpy() for i in range(0, len(images), batch_size)
        ]
    return np.concatenate(parts)
