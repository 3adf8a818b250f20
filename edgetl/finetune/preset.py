"""Presets: what is trained for how long; each is one TOML file beside this module."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl import toml
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import from_mapping, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent / "presets"
FEW_IMAGES = 150
SHALLOW = 0.34
FAR_BELOW = 0.75


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase of staged unfreezing.

    Attributes:
        name: Shown in log, progress bar and report.
        depth: Share of the backbone's segments that learn, counted from the top, 0 to 1.
        megapixels: Compute budget; divided by the pixels of one epoch it gives the number of epochs.
        epochs_min: Least number of epochs, whatever the budget.
        epochs_max: Largest number of epochs.
        learning_rate: Peak rate of the top layer.
        patience: Epochs without a noticeably better validation loss until the phase ends early.
    """

    name: str
    depth: float
    megapixels: float
    epochs_min: int
    epochs_max: int
    learning_rate: float
    patience: int = 5

    def depth_for(self, *, images: int, baseline: float) -> float:
        """Return how deep to unfreeze on this data.

        Few images cannot move many weights without learning them by heart; where frozen features hardly tell the
        classes apart, the data is so far from photographs that the lowest layers must learn too.

        Args:
            images: Of the training split.
            baseline: Balanced accuracy of the frozen baseline on validation, 0 to 1.
        """
        if images < FEW_IMAGES:
            return min(self.depth, SHALLOW)
        return 1.0 if baseline < FAR_BELOW and self.depth > SHALLOW else self.depth

    def epochs(self, *, images: int, pixels: int) -> int:
        """Return the number of epochs for a training set of `images` images of `pixels` pixels each.

        Example:
            >>> Phase(name="p", depth=1, megapixels=100, epochs_min=2, epochs_max=9, learning_rate=1e-3).epochs(
            ...     images=500, pixels=50_000)
            4
        """
        return max(self.epochs_min, min(self.epochs_max, round(self.megapixels * 1e6 / (images * pixels))))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A named recipe of fine-tuning.

    Attributes:
        resolution: Factor on the backbone's own input size, never above the size of the images themselves.
        batch_size: Images per step.
        layer_decay: Factor on the learning rate from one segment to the one below it.
        weight_decay: Of AdamW, on weights but not on biases and normalisation.
        dropout: Before the classifier.
        label_smoothing: Share of the target spread over all classes.
        ema_decay: Of the averaged weights, which are the ones evaluated and kept.
        warmup: Share of a phase's steps in which the learning rate rises.
        batch_statistics: Whether normalisation learns its statistics from the batches, which a network without
            pretrained weights needs and that harms a pretrained one.
    """

    schema_version: int
    description: str
    resolution: float
    phases: tuple[Phase, ...]
    batch_size: int = 16
    layer_decay: float = 0.8
    weight_decay: float = 0.02
    dropout: float = 0.3
    label_smoothing: float = 0.05
    ema_decay: float = 0.99
    warmup: float = 0.1
    batch_statistics: bool = False

    def depth_of(self, phase: Phase, *, images: int, baseline: float) -> float:
        """Return how deep to unfreeze in a phase; what was never trained cannot stay as it is, however few the images.

        Args:
            phase: Of this preset.
            images: Of the training split.
            baseline: Balanced accuracy of the frozen baseline on validation, 0 to 1.
        """
        return phase.depth if self.batch_statistics else phase.depth_for(images=images, baseline=baseline)


def preset_names() -> tuple[str, ...]:
    """Return the names of all presets."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def read_preset(name: str) -> Preset:
    """Read the preset `name`.

    Raises:
        UsageError: There is no such preset.

    Example:
        >>> read_preset("fast").phases
        ()
    """
    if name not in preset_names():
        raise UsageError("--preset", "a known preset", f"'{name}'", fix=nearest(name, preset_names()))
    where = f"presets/{name}.toml"
    return from_mapping(Preset, toml.read(FOLDER / f"{name}.toml", where=where), where=where)


def preset_for(name: str, *, weights: str, note: Callable[[str], None]) -> Preset:
    """Read a preset and hold it against the weights that training starts from.

    Args:
        name: Of the preset.
        weights: `auto`, `none` or a path.
        note: Told that the preset is made for other weights.

    Raises:
        UsageError: There is no such preset, or it would forget the pretrained weights.
    """
    preset = read_preset(name)
    if preset.batch_statistics and weights != "none":
        got = f"--weights {weights}, which it would forget"
        raise UsageError(f"--preset {name}", "used with --weights none", got, fix="--preset balanced")
    if preset.phases and weights == "none" and not preset.batch_statistics:
        note(f"--preset {name} is made for pretrained weights; for random ones use --preset scratch")
    return preset
