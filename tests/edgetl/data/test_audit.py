from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgetl.data.audit import difference_hash, near_duplicates
from edgetl.data.samples import Sample
from edgetl_runtime.errors import ShapeError


def picture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)


def samples(*splits):
    return [Sample(path=Path(f"{i}.png"), label=0, split=split, sha256=str(i)) for i, split in enumerate(splits)]


def test_near_duplicates_finds_a_brighter_noisy_copy_in_another_split_only():
    noise = np.random.default_rng(9).integers(0, 4, (64, 64, 3), dtype=np.uint8)
    copy = cv2.add(picture(0), noise)
    images = np.stack([picture(0), picture(1), copy, picture(2), copy])
    (pair,) = near_duplicates(images, samples("train", "train", "test", "test", "train"))[:1]
    found = near_duplicates(images, samples("train", "train", "test", "test", "train"))
    assert [(p.first, p.second) for p in found] == [(2, 4), (0, 2)]
    assert pair.differing_bits == 0
    assert found[1].differing_bits <= 8


def test_near_duplicates_passes_over_images_without_contrast():
    images = np.zeros((4, 32, 32, 3), np.uint8)
    assert near_duplicates(images, samples("train", "val", "test", "test")) == ()


def test_near_duplicates_works_across_blocks(monkeypatch):
    monkeypatch.setattr("edgetl.data.audit.BLOCK", 2)
    images = np.stack([picture(i) for i in (0, 1, 2, 3, 0)])
    (pair,) = near_duplicates(images, samples("train", "train", "val", "val", "test"))
    assert (pair.first, pair.second, pair.differing_bits) == (0, 4, 0)


def test_near_duplicates_refuses_another_number_of_samples():
    with pytest.raises(ShapeError, match="images must be 1, one a sample; got 2"):
        near_duplicates(np.zeros((2, 8, 8, 3), np.uint8), samples("train"))
    assert near_duplicates(np.zeros((0, 8, 8, 3), np.uint8), []) == ()


def test_difference_hash_has_256_bits_and_ignores_brightness():
    assert difference_hash(picture(0)).shape == (256,)
    darker = (picture(0) // 2).astype(np.uint8)
    assert np.count_nonzero(difference_hash(picture(0)) != difference_hash(darker)) < 20
