"""Accuracy first on a slice: a small part of the training and validation images, on which networks are ranked."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgetl.data.samples import Dataset, Sample

LEAST_PER_CLASS = 12  # enough that train and test of the slice's own run hold every class


def choose_slice(data: Dataset, *, count: int, seed: int) -> tuple[Sample, ...]:
    """Choose a class-stratified, seeded part of training and validation; test is never in it.

    Args:
        data: The whole data set.
        count: Training images to choose, about; small classes keep at least twelve. Of validation half as many.
        seed: Decides which.
    """
    rng = np.random.default_rng(seed)
    train = _stratified(data.split("train"), count, rng)
    val = _stratified(data.split("val"), max(count // 2, 1), rng)
    return tuple(sorted((*train, *val), key=lambda sample: sample.path))


def _stratified(samples: Sequence[Sample], count: int, rng: np.random.Generator) -> list[Sample]:
    chosen: list[Sample] = []
    share = min(1.0, count / len(samples)) if samples else 0.0
    for label in sorted({sample.label for sample in samples}):
        of_class = [sample for sample in samples if sample.label == label]
        size = min(len(of_class), max(LEAST_PER_CLASS, round(share * len(of_class))))
        chosen += [of_class[i] for i in rng.permutation(len(of_class))[:size]]
    return chosen


def write_slice(path: Path, data: Dataset, samples: Sequence[Sample]) -> None:
    """Write a slice as a CSV that `edgetl finetune` reads.

    It names train and val only: fine-tuning carves the test of the slice's own run out of the former, so that the
    data's test split stays unseen.
    """
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split", "certainty"))
        for s in samples:
            writer.writerow([s.path.resolve(), data.classes[s.label], s.split, s.certainty])
