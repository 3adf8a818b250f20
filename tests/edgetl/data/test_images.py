from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgetl.data.images import cache_key, load_images
from edgetl.data.load import load_dataset
from edgetl.errors import DataError
from edgetl_runtime.decode import decode
from edgetl_runtime.errors import ImageError
from edgetl_runtime.preprocess import PreprocessSpec, preprocess

SPEC = PreprocessSpec(width_px=16, height_px=12)


@pytest.fixture
def samples(parts):
    return load_dataset(parts).samples


def test_load_images_equals_what_the_device_computes_bit_by_bit(parts, image):
    for index, (width, height) in enumerate([(1, 1), (3, 200), (640, 7), (129, 97)]):
        for suffix in ("jpg", "bmp", "tiff", "webp"):
            image(parts / "ok" / f"{index}.{suffix}", 800 + index, width_px=width, height_px=height)
    found = load_dataset(parts).samples
    images = load_images(found, SPEC)
    assert images.shape == (36, 12, 16, 3)
    for sample, tensor in zip(found, images, strict=True):
        np.testing.assert_array_equal(tensor, preprocess(decode(sample.path, SPEC), SPEC, colour="rgb"))


def test_load_images_decodes_files_as_rgb_whatever_the_order_of_arrays(samples):
    bgr = dataclasses.replace(SPEC, colour="bgr")
    np.testing.assert_array_equal(load_images(samples, bgr), load_images(samples, SPEC))


def test_cache_key_depends_on_contents_order_and_spec(samples):
    keys = {
        cache_key(samples, SPEC),
        cache_key(samples[:-1], SPEC),
        cache_key(samples[::-1], SPEC),
        cache_key(samples, dataclasses.replace(SPEC, interpolation="linear")),
        cache_key(samples, dataclasses.replace(SPEC, width_px=17)),
    }
    assert len(keys) == 5


def test_load_images_refuses_a_file_that_changed_since_the_scan(samples):
    samples[3].path.write_bytes(samples[4].path.read_bytes())
    with pytest.raises(DataError, match=r"03\.png must be as it was when scanned"):
        load_images(samples, SPEC)


def test_load_images_refuses_a_file_that_went_away(samples):
    samples[3].path.unlink()
    with pytest.raises(DataError, match=r"03\.png: No such file or directory"):
        load_images(samples, SPEC)


def test_load_images_names_the_image_that_a_region_of_interest_does_not_fit(samples):
    spec = dataclasses.replace(SPEC, roi_px=(0, 0, 25, 20))
    with pytest.raises(ImageError, match=r"roi_px .* must be inside the image; got an image of 24x20"):
        load_images(samples, spec)


def test_load_images_of_no_samples_is_empty():
    assert load_images((), SPEC).shape == (0, 12, 16, 3)
