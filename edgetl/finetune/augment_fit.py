"""Which augmentations suit these images: measured on the frozen baseline before anything is trained.

The baseline's head is fitted on the variation that the training images have. Where it no longer tells validation images
apart once they are shifted, turned or made noisy, images of this station do not vary that way: parts lie in a fixture,
cells fill the frame, and a shift brings an edge into the picture that looks like a defect. Training on such images
spends a small network on what it will never see, so the augmentation is weakened, or left out.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.data.augment import OFF, AugmentConfig, augment
from edgetl.tasks.classes import calibrated_log_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

KEPT_SHARE = 0.75  # of what the baseline knows about the classes
LEAST_KNOWN = 0.05  # nats; a baseline that knows less says nothing about augmentation
SAMPLE = 128  # validation images
STRENGTHS: dict[str, tuple[tuple[float, ...], tuple[str, ...]]] = {
    "flip_h": ((1.0,), ()),
    "flip_v": ((1.0,), ()),
    "rotate90": ((1.0,), ()),
    "affine": ((1.0, 0.5, 0.25), ("max_turn_deg", "max_shift", "max_scale")),
    "photometric": ((1.0, 0.5, 0.25), ("max_brightness", "max_contrast")),
    "noise": ((1.0, 0.5, 0.25), ("noise_grey",)),
}  # part of the augmentation: strengths to try, strongest first, and the numbers they scale


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Borne:
    """How much of one augmentation suits the images.

    Attributes:
        name: Of the part of the augmentation.
        strength: Share of the full strength that is used, 0 (left out) to 1.
        kept_share: Of the baseline's knowledge at that strength (at the weakest tried, where it is left out).
    """

    name: str
    strength: float
    kept_share: float


def fit_augmentation(
    wish: AugmentConfig,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    logits_of: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    *,
    seed: int,
) -> tuple[AugmentConfig, tuple[Borne, ...]]:
    """Weaken every wished augmentation until the baseline still knows the images, or leave it out.

    What the baseline knows is how far its log-loss lies below that of the class frequencies alone.

    Args:
        wish: What is switched on, at full strength.
        images: Validation images, uint8 (N, H, W, 3); at most `SAMPLE` are used.
        labels: int64 (N,).
        logits_of: The baseline: images to logits, float32 (N, C).
        seed: Of the choice of images and of their augmentation.

    Returns:
        What to train with, and how each wished part fared; no parts where the baseline knows too little to ask.

    Example:
        >>> grey = np.arange(0, 256, 8, dtype=np.uint8)  # the class is the brightness: noise and tone alone can hurt
        >>> images = np.broadcast_to(grey[:, None, None, None], (32, 16, 16, 3)).copy()
        >>> def baseline(x):
        ...     dark = 127 - x.mean(axis=(1, 2, 3), dtype=np.float64)
        ...     return np.stack([dark, -dark], axis=1).astype(np.float32)
        >>> config, borne = fit_augmentation(AugmentConfig(), images, (grey > 127).astype(np.int64), baseline, seed=0)
        >>> config.flip_h, config.affine, config.max_shift
        (True, True, 0.05)
    """
    chosen = np.random.default_rng([seed, len(images)]).permutation(len(images))[:SAMPLE]
    images, labels = images[chosen], labels[chosen]
    frequencies = np.bincount(labels) / len(labels)
    chance = float(-np.log(frequencies[labels]).mean())
    known = chance - calibrated_log_loss(logits_of(images), labels)
    if known < LEAST_KNOWN:
        return wish, ()

    def kept_share(config: AugmentConfig) -> float:
        changed = np.stack([augment(x, np.random.default_rng([seed, i]), config) for i, x in enumerate(images)])
        return round((chance - calibrated_log_loss(logits_of(changed), labels)) / known, 3)

    borne = tuple(_bear(name, wish, kept_share) for name in STRENGTHS if getattr(wish, name))
    fitted = wish
    for one in borne:
        fitted = _scaled(fitted, one.name, one.strength)
    return fitted, borne


def _bear(name: str, wish: AugmentConfig, kept_share: Callable[[AugmentConfig], float]) -> Borne:
    share = 0.0
    for strength in STRENGTHS[name][0]:
        share = kept_share(_scaled(dataclasses.replace(OFF, **_numbers(name, wish)), name, strength))
        if share >= KEPT_SHARE:
            return Borne(name=name, strength=strength, kept_share=share)
    return Borne(name=name, strength=0.0, kept_share=share)


def _numbers(name: str, config: AugmentConfig) -> dict[str, Any]:
    return {field: getattr(config, field) for field in STRENGTHS[name][1]}


def _scaled(config: AugmentConfig, name: str, strength: float) -> AugmentConfig:
    numbers = {field: strength * value for field, value in _numbers(name, config).items()}
    return dataclasses.replace(config, **{name: strength > 0}, **(numbers if strength else {}))
