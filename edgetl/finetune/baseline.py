"""The second stage of a fine-tuning: features of the frozen backbone, a head on them, and what they bear."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.data.augment import AugmentConfig
from edgetl.data.images import cache_key
from edgetl.finetune.augment_fit import Borne, fit_augmentation
from edgetl.finetune.features import cached_features, extract, feature_key
from edgetl.finetune.head import Head, class_weights, fit_head
from edgetl.tasks.classes import balanced_accuracy, calibrated_log_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl.finetune.engine import FrozenTrunk
    from edgetl.finetune.prepared import Network, Prepared
    from edgetl.finetune.work import Work


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """The frozen backbone with a fitted head.

    Attributes:
        head: On its features; the network's classifier is the same.
        val_logits: Of validation, float32 (N, C).
        test_logits: Of test, likewise; nothing is decided by them before the end.
        class_weights: Of the loss, (C,).
        balanced: Balanced accuracy on validation, 0 to 1.
        augment: The augmentation that these images bear.
        borne: How much of each part of it.
        seconds: Wall time of `features` and `head`.
    """

    head: Head
    val_logits: NDArray[np.float32]
    test_logits: NDArray[np.float32]
    class_weights: NDArray[np.float32]
    balanced: float
    augment: AugmentConfig
    borne: tuple[Borne, ...]
    seconds: dict[str, float]


def fit_baseline(prepared: Prepared, network: Network, work: Work) -> Baseline:
    """Fit a regularised head on features of the frozen backbone, and put it into the network."""
    trunks: list[FrozenTrunk] = []  # compiled only where the features are not known already

    def whole_trunk() -> FrozenTrunk:
        if not trunks:
            trunks.append(network.trunk(network.segments))
        return trunks[0]

    started = time.monotonic()
    train = _features("train", prepared, network, work, whole_trunk)
    val = _features("val", prepared, network, work, whole_trunk)
    # of test too, now: later the backbone is no longer the pretrained one that names them in the cache
    test = _features("test", prepared, network, work, whole_trunk)
    seconds = {"features": time.monotonic() - started}
    started = time.monotonic()
    weights = class_weights(prepared.train.labels, len(prepared.data.classes))
    with work.progress.stage("fit the head"):
        head = fit_head(
            train,
            prepared.train.targets,
            weights,
            val=val,
            val_labels=prepared.val.labels,
            seed=prepared.config.seed,
        )
    with torch.no_grad():
        network.classifier.weight.copy_(torch.from_numpy(head.weight))
        network.classifier.bias.copy_(torch.from_numpy(head.bias))
    seconds["head"] = time.monotonic() - started
    logits, labels = head.logits(val), prepared.val.labels
    work.record(
        {
            "phase": "baseline",
            "val_log_loss": calibrated_log_loss(logits, labels),
            "val_accuracy": float((logits.argmax(axis=1) == labels).mean()),
        }
    )
    augment, borne = _augmentation(prepared, head, work, whole_trunk)
    return Baseline(
        head=head,
        val_logits=logits,
        test_logits=head.logits(test),
        class_weights=weights,
        balanced=balanced_accuracy(logits, labels),
        augment=augment,
        borne=borne,
        seconds=seconds,
    )


def _features(
    split: str, prepared: Prepared, network: Network, work: Work, trunk: Callable[[], FrozenTrunk]
) -> NDArray[np.float32]:
    images = {"train": prepared.train, "val": prepared.val, "test": prepared.test}[split].images

    def compute() -> NDArray[np.float32]:
        with work.progress.stage(f"features of {split}") as advance:
            return extract(trunk(), images, progress=advance, stop=work.stop)

    images_key = cache_key(prepared.data.split(split), prepared.preprocess)  # type: ignore[arg-type]
    key = feature_key(images_key, network.origin["sha256"], network.spec.name, network.device.type)
    return cached_features(key, compute, n=len(images), note=work.progress.note)


def _augmentation(
    prepared: Prepared, head: Head, work: Work, trunk: Callable[[], FrozenTrunk]
) -> tuple[AugmentConfig, tuple[Borne, ...]]:
    """Weaken or leave out what changes these images too much; nothing is measured where nothing will be trained."""
    asked = AugmentConfig(**dict.fromkeys(prepared.config.no_augment, False))
    if not prepared.preset.phases:
        return asked, ()
    with work.progress.stage("fit the augmentation"):

        def logits_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return head.logits(extract(trunk(), images, progress=lambda *_: None, stop=work.stop))

        val = prepared.val
        augment, borne = fit_augmentation(asked, val.images, val.labels, logits_of, seed=prepared.config.seed)
    for one in (b for b in borne if b.strength < 1):
        how = f"weakened to {one.strength:.0%}" if one.strength else "left out"
        work.progress.note(f"  augmentation {one.name}: {how}, the baseline keeps {one.kept_share:.0%} under it")
    return augment, borne
