from __future__ import annotations

import numpy as np
import pytest

from edgetl.quantize import static
from edgetl_runtime.errors import UsageError


def test_images_feeds_batches_of_one_and_then_nothing():
    batch = np.arange(3 * 12, dtype=np.uint8).reshape(3, 2, 2, 3)
    fed = list(static.Images("image", batch))
    assert [one["image"].shape for one in fed] == [(1, 2, 2, 3)] * 3
    np.testing.assert_array_equal(np.concatenate([one["image"] for one in fed]), batch)


def test_images_can_be_set_to_a_part():
    reader = static.Images("image", np.zeros((5, 2, 2, 3), np.uint8))
    reader.set_range(1, 3)
    assert len(list(reader)) == 2
    assert len(reader) == 5


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"images": 0, "bias_images": 1, "percentile": 99}, "images must be at least 1; got 0"),
        ({"images": 1, "bias_images": 0, "percentile": 99}, "bias_images must be at least 1; got 0"),
        ({"images": 1, "bias_images": 1, "percentile": 50}, "percentile must be above 50 and at most 100; got 50"),
    ],
    ids=["images", "bias_images", "percentile"],
)
def test_check_numbers_refuses_with_one_sentence(numbers, sentence):
    with pytest.raises(UsageError) as caught:
        static.check_numbers(**numbers)
    assert sentence in str(caught.value)
