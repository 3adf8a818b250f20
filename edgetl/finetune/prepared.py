"""The first stage of a fine-tuning: images read, split and decoded, and the network they will train."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from edgetl import backbones, tasks
from edgetl.backbones.build import build, classifier, segments
from edgetl.backbones.spec import BackboneSpec
from edgetl.backbones.weights import resolve as resolve_weights
from edgetl.config import FinetuneConfig
from edgetl.data.images import load_images
from edgetl.data.load import load_dataset
from edgetl.data.samples import Dataset, Sample
from edgetl.data.split_file import recall
from edgetl.finetune.engine import FrozenTrunk, pick_device
from edgetl.finetune.head import soft_targets
from edgetl.finetune.loop import Examples
from edgetl.finetune.preset import Preset
from edgetl.finetune.size import choose_size
from edgetl.tasks.base import HostTask
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.finetune.work import Work


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """All that is known before anything is computed.

    Attributes:
        config: What to compute.
        preset: How long and how deep.
        spec: The backbone.
        device: Where the trainable part runs.
        data: The data set with its split.
        earlier_looks: How often these test images were looked at by runs whose split was kept.
        task: What is learned.
        aims: What is asked of the task, typed.
        labels: What is decided about.
        preprocess: From image to tensor.
        train: Decoded training images.
        val: Decoded validation images.
        test: Decoded test images.
    """

    config: FinetuneConfig
    preset: Preset
    spec: BackboneSpec
    device: torch.device
    data: Dataset
    earlier_looks: int
    task: HostTask[Any, Any, Any]
    aims: Any
    labels: Any
    preprocess: PreprocessSpec
    train: Examples
    val: Examples
    test: Examples

    @property
    def image_px(self) -> int:
        """Side of the square input in pixels."""
        return self.preprocess.width_px


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """The network; the stages that train change the values of its weights.

    Attributes:
        model: All of it.
        segments: Its backbone in running order.
        classifier: Its last layer.
        origin: Where its first weights came from: kind, digest, licence, source.
        spec: The backbone.
        size_px: Input (width, height).
        device: Where the trainable part runs.
    """

    model: nn.Module
    segments: tuple[nn.Module, ...]
    classifier: nn.Linear
    origin: dict[str, Any]
    spec: BackboneSpec
    size_px: tuple[int, int]
    device: torch.device

    def trunk(self, layers: Sequence[nn.Module]) -> FrozenTrunk:
        """Return layers as they are now, run by the deployment engine."""
        return FrozenTrunk(layers, mean=self.spec.mean, std=self.spec.std, size_px=self.size_px, device=self.device)


def prepare(config: FinetuneConfig, preset: Preset, work: Work) -> Prepared:
    """Read, check, split and decode the images; nothing is written.

    Raises:
        EdgetlError: The data or the options cannot be used, or a stop was asked for.
    """
    spec, device = backbones.get(config.backbone), pick_device(config.device)
    remembered = recall(config.split_from, work.folder)
    with work.progress.stage("read and check images") as advance:
        data = load_dataset(
            Path(config.data),
            bit_depth=config.bit_depth,
            seed=config.seed,
            val_fraction=config.val_fraction,
            test_fraction=config.test_fraction,
            skip_bad=config.skip_bad,
            remembered=remembered,
            progress=work.stoppable(advance),
        )
    task = tasks.fitting(data.classes, name=config.task, aims=config.aims)
    aims = task.aims(config.aims)
    labels = task.labels_for(data.classes, aims)
    if data.bad:
        work.progress.note(f"left out as unusable: {len(data.bad)}; listed in the report")
    for note in data.notes:
        work.progress.note(note)
    px = choose_size(spec, preset, config, data.split("train"))
    preprocess = PreprocessSpec(
        width_px=px, height_px=px, resize=config.resize, bit_depth=config.bit_depth, roi_px=config.roi_px
    )

    def examples(samples: tuple[Sample, ...], name: str) -> Examples:
        with work.progress.stage(f"decode {name}") as advance:
            images = load_images(samples, preprocess, progress=work.stoppable(advance))
        truth = np.array([s.label for s in samples], np.int64)
        certainty = np.array([s.certainty for s in samples], np.float64)
        targets = soft_targets(truth, certainty, len(data.classes))
        return Examples(images=images, labels=truth, targets=targets, groups=tuple(s.unit for s in samples))

    return Prepared(
        config=config,
        preset=preset,
        spec=spec,
        device=device,
        data=data,
        earlier_looks=remembered.looks_at(data.split("test")) if remembered else 0,
        task=task,
        aims=aims,
        labels=labels,
        preprocess=preprocess,
        train=examples(data.split("train"), "train"),
        val=examples(data.split("val"), "val"),
        test=examples(data.split("test"), "test"),
    )


def build_network(prepared: Prepared) -> Network:
    """Build the network with its pretrained weights, and a new classifier.

    Raises:
        WeightsError: They cannot be had.
    """
    config, spec = prepared.config, prepared.spec
    weights = resolve_weights(spec, config.weights)
    torch.manual_seed(config.seed)
    model = build(spec, num_classes=len(prepared.data.classes), weights=weights, image_px=prepared.image_px)
    model = model.to(memory_format=torch.channels_last)
    origin = {"kind": "none", "sha256": f"seed {config.seed}", "licence": "none", "source": "random"}
    if weights is not None:
        origin = {k: v for k, v in to_mapping(weights).items() if k != "path"}
    return Network(
        model=model,
        segments=tuple(module for _, module in segments(spec, model)),
        classifier=classifier(model),
        origin=origin,
        spec=spec,
        size_px=(prepared.image_px, prepared.image_px),
        device=prepared.device,
    )
