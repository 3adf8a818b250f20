from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import QuantizeError
from edgetl.quantize import calibration


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)


def test_select_keeps_the_class_shares():
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    chosen = calibration.select(images(200), labels, count=20)
    assert np.bincount(labels[list(chosen.indices)]).tolist() == [10, 6, 4]


def test_select_takes_at_least_one_of_a_rare_class():
    labels = np.repeat([0, 1, 2], [990, 5, 5])
    chosen = calibration.select(images(1000), labels, count=10)
    assert np.bincount(labels[list(chosen.indices)]).tolist() == [8, 1, 1]


def test_select_returns_the_images_at_its_indices_in_their_order():
    source = images(50)
    chosen = calibration.select(source, np.arange(50) % 2, count=10, seed=3)
    np.testing.assert_array_equal(chosen.images, source[list(chosen.indices)])


def test_select_takes_a_small_split_whole():
    chosen = calibration.select(images(7), np.array([0, 0, 0, 0, 1, 1, 1]))
    assert sorted(chosen.indices) == list(range(7))


def test_select_is_decided_by_the_seed():
    source, labels = images(60), np.arange(60) % 3
    first, same, other = (calibration.select(source, labels, count=12, seed=seed) for seed in (1, 1, 2))
    assert first.digest == same.digest
    assert first.indices == same.indices
    assert first.digest != other.digest


def test_digest_depends_on_pixels_and_shape():
    flat = np.arange(96, dtype=np.uint8)
    assert calibration.digest(flat.reshape(2, 4, 4, 3)) != calibration.digest(flat.reshape(1, 8, 4, 3))


@pytest.mark.parametrize(
    ("batch", "labels", "sentence"),
    [
        (None, np.zeros(0, int), "the calibration set must be at least one image; got none"),
        (images(0), np.zeros(0, int), "the calibration set must be at least one image; got an empty one"),
        (images(4), np.ones(4, int), "the calibration set must be of at least two classes; got class 1 only"),
        (images(4), np.array([0, 1]), "calibration labels must be one per image; got shape (2,) for 4 images"),
        (
            images(4).astype(np.float32),
            np.array([0, 1, 0, 1]),
            "must be uint8 of shape (N, height, width, 3); got float32",
        ),
        (images(4)[..., :1], np.array([0, 1, 0, 1]), "must be uint8 of shape (N, height, width, 3)"),
    ],
    ids=["missing", "empty", "one class", "labels", "dtype", "channels"],
)
def test_select_refuses_with_one_sentence(batch, labels, sentence):
    with pytest.raises(QuantizeError) as caught:
        calibration.select(batch, labels)
    assert sentence in str(caught.value)


def test_select_refuses_fewer_images_than_classes():
    with pytest.raises(QuantizeError, match="must be at least one per class; got 2 for 3 classes"):
        calibration.select(images(9), np.arange(9) % 3, count=2)
