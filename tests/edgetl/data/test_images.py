from __future__ import annotations

import dataclasses
import errno
import os

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


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_load_images_equals_what_the_device_computes_bit_by_bit(parts, image):
    for index, (width, height) in enumerate([(1, 1), (3, 200), (640, 7), (129, 97)]):
        for suffix in ("jpg", "bmp", "tiff", "webp"):
            image(parts / "ok" / f"{index}.{suffix}", 800 + index, width_px=width, height_px=height)
    found = load_dataset(parts).samples
    images = load_images(found, SPEC, cache_dir=None)
    assert images.shape == (36, 12, 16, 3)
    for sample, tensor in zip(found, images, strict=True):
        np.testing.assert_array_equal(tensor, preprocess(decode(sample.path, SPEC), SPEC, colour="rgb"))


def test_load_images_decodes_files_as_rgb_whatever_the_order_of_arrays(samples):
    bgr = dataclasses.replace(SPEC, colour="bgr")
    np.testing.assert_array_equal(load_images(samples, bgr, cache_dir=None), load_images(samples, SPEC, cache_dir=None))


def test_load_images_reads_the_cache_instead_of_the_files(samples, cache):
    first = np.array(load_images(samples, SPEC, cache_dir=cache))
    for sample in samples:
        sample.path.unlink()
    again = load_images(samples, SPEC, cache_dir=cache)
    np.testing.assert_array_equal(first, again)
    assert not again.flags.writeable
    assert len(list(cache.iterdir())) == 1


def test_load_images_makes_a_cut_cache_file_anew(samples, cache):
    first = np.array(load_images(samples, SPEC, cache_dir=cache))
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    np.testing.assert_array_equal(load_images(samples, SPEC, cache_dir=cache), first)


def test_load_images_makes_a_cache_file_that_is_not_numpy_anew(samples, cache):
    first = np.array(load_images(samples, SPEC, cache_dir=cache))
    (file,) = cache.iterdir()
    file.write_bytes(b"")
    np.testing.assert_array_equal(load_images(samples, SPEC, cache_dir=cache), first)


def test_cache_key_depends_on_contents_order_and_spec(samples):
    keys = {
        cache_key(samples, SPEC),
        cache_key(samples[:-1], SPEC),
        cache_key(samples[::-1], SPEC),
        cache_key(samples, dataclasses.replace(SPEC, interpolation="linear")),
        cache_key(samples, dataclasses.replace(SPEC, width_px=17)),
    }
    assert len(keys) == 5


def test_load_images_refuses_a_file_that_changed_since_the_scan(samples, cache):
    samples[3].path.write_bytes(samples[4].path.read_bytes())
    with pytest.raises(DataError, match=r"03\.png must be as it was when scanned"):
        load_images(samples, SPEC, cache_dir=cache)
    assert list(cache.iterdir()) == []


def test_load_images_refuses_a_file_that_went_away(samples):
    samples[3].path.unlink()
    with pytest.raises(DataError, match=r"03\.png: No such file or directory"):
        load_images(samples, SPEC, cache_dir=None)


def test_load_images_names_the_image_that_a_region_of_interest_does_not_fit(samples):
    spec = dataclasses.replace(SPEC, roi_px=(0, 0, 25, 20))
    with pytest.raises(ImageError, match=r"roi_px .* must be inside the image; got an image of 24x20"):
        load_images(samples, spec, cache_dir=None)


def test_load_images_leaves_nothing_behind_on_a_full_disk(samples, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        load_images(samples, SPEC, cache_dir=cache)
    assert list(cache.iterdir()) == []


def test_load_images_leaves_nothing_behind_when_interrupted(samples, cache):
    def interrupt(done, _):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_images(samples, SPEC, cache_dir=cache, progress=interrupt)
    assert list(cache.iterdir()) == []


def test_load_images_of_no_samples_is_empty(cache):
    assert load_images((), SPEC, cache_dir=cache).shape == (0, 12, 16, 3)
