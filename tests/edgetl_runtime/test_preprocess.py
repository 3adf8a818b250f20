from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from PIL import Image

from edgetl_runtime.decode import decode
from edgetl_runtime.errors import ImageError, UsageError
from edgetl_runtime.preprocess import PreprocessSpec, preprocess, to_eight_bit

SPEC = PreprocessSpec(width_px=32, height_px=24)


def smooth(width_px, height_px, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC)


RGB = smooth(97, 63)
GREY = np.asarray(Image.fromarray(RGB).convert("L"))


def encoded_by_cv2(pixels, suffix=".png"):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def three(grey):
    return np.repeat(grey[:, :, None], 3, axis=2)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (31, 23), (33, 25), (32, 24), (7, 300), (1281, 961)])
@pytest.mark.parametrize("resize", ["stretch", "fit", "crop"])
@pytest.mark.parametrize("interpolation", ["area", "halved-area", "linear"])
def test_preprocess_gives_the_same_shape_for_every_size(size, resize, interpolation):
    spec = dataclasses.replace(SPEC, resize=resize, interpolation=interpolation)
    out = preprocess(smooth(*size), spec)
    assert out.shape == (24, 32, 3)
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous


def test_preprocess_stretches_by_areas():
    blocks = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) % 250
    image = np.kron(blocks, np.ones((3, 3))).astype(np.uint8)
    np.testing.assert_array_equal(preprocess(image, SPEC), three(blocks.astype(np.uint8)))


def test_preprocess_fits_with_bars_of_the_given_grey():
    out = preprocess(np.full((100, 50, 3), 9, np.uint8), dataclasses.replace(SPEC, resize="fit", pad_grey=77))
    assert (out[:, 10:22] == 9).all()
    assert (out[:, :10] == 77).all()
    assert (out[:, 22:] == 77).all()


def test_preprocess_crops_the_centre():
    image = np.zeros((48, 128, 3), np.uint8)
    image[:, 32:96] = 200
    assert (preprocess(image, dataclasses.replace(SPEC, resize="crop")) == 200).all()


def test_preprocess_cuts_the_region_of_interest():
    spec = dataclasses.replace(SPEC, roi_px=(5, 7, 32, 24))
    np.testing.assert_array_equal(preprocess(RGB, spec), RGB[7:31, 5:37])
    with pytest.raises(ImageError, match=r"roi_px \[90, 0, 32, 24\] must be inside the image; got an image of 97x63"):
        preprocess(RGB, dataclasses.replace(SPEC, roi_px=(90, 0, 32, 24)))


def test_preprocess_takes_grey_of_two_shapes_and_both_channel_orders():
    grey = preprocess(GREY, SPEC)
    np.testing.assert_array_equal(grey, preprocess(GREY[:, :, None], SPEC))
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    bgr = np.ascontiguousarray(RGB[..., ::-1])
    np.testing.assert_array_equal(preprocess(bgr, SPEC, colour="bgr"), preprocess(RGB, SPEC))
    np.testing.assert_array_equal(preprocess(bgr, dataclasses.replace(SPEC, colour="bgr")), preprocess(RGB, SPEC))
    np.testing.assert_array_equal(
        preprocess(RGB, dataclasses.replace(SPEC, colour="bgr"), colour="rgb"), preprocess(RGB, SPEC)
    )


@pytest.mark.parametrize("spec", [SPEC, dataclasses.replace(SPEC, roi_px=(1, 1, 40, 40))])
def test_preprocess_does_not_care_how_an_array_lies_in_memory(spec):
    expected = preprocess(RGB[::-1, ::-1].copy(), spec)
    np.testing.assert_array_equal(preprocess(RGB[::-1, ::-1], spec), expected)
    np.testing.assert_array_equal(preprocess(np.asfortranarray(RGB[::-1, ::-1]), spec), expected)
    fixed = RGB[::-1, ::-1].copy()
    fixed.flags.writeable = False
    np.testing.assert_array_equal(preprocess(fixed, spec), expected)
    np.testing.assert_array_equal(preprocess(GREY[:, ::-1], spec), preprocess(GREY[:, ::-1].copy(), spec))


@pytest.mark.parametrize("resize", ["stretch", "fit", "crop"])
@pytest.mark.parametrize("interpolation", ["area", "halved-area", "linear"])
def test_preprocess_gives_the_numbers_of_converting_colours_first(resize, interpolation):
    rng = np.random.default_rng(0)
    for height, width in rng.integers(20, 400, (30, 2)):
        spec = PreprocessSpec(width_px=61, height_px=47, resize=resize, interpolation=interpolation)
        grey, bgr = (rng.integers(0, 256, (height, width, *rest), np.uint8) for rest in ((), (3,)))
        rgb = preprocess(np.ascontiguousarray(np.dstack([grey] * 3)), spec, colour="rgb")
        assert np.array_equal(preprocess(grey, spec), rgb)
        assert np.array_equal(preprocess(grey[:, :, None], spec), rgb)
        swapped = preprocess(np.ascontiguousarray(bgr[:, :, ::-1]), spec, colour="rgb")
        assert np.array_equal(preprocess(bgr, spec, colour="bgr"), swapped)


@pytest.mark.parametrize(
    ("size", "halvings"),
    [((660, 500), 2), ((410, 300), 1), ((640, 480), 0), ((126, 98), 0), ((640, 481), 0), ((130, 98), 1)],
)
def test_halved_area_is_area_of_means_of_four(size, halvings):
    image = smooth(*size)
    spec = PreprocessSpec(width_px=64, height_px=48, interpolation="halved-area")
    means = image.astype(int)
    for _ in range(halvings):
        means = (means[::2, ::2] + means[1::2, ::2] + means[::2, 1::2] + means[1::2, 1::2] + 2) // 4
    found, area = preprocess(image, spec), dataclasses.replace(spec, interpolation="area")
    np.testing.assert_array_equal(found, preprocess(means.astype(np.uint8), area))
    assert np.abs(found.astype(int) - preprocess(image, area)).mean() < 1


def test_preprocess_reduces_deep_frames_as_decode_reduces_deep_files():
    spec = dataclasses.replace(SPEC, bit_depth=12)
    deep = GREY.astype(np.uint16) << 4
    np.testing.assert_array_equal(preprocess(deep, spec), preprocess(decode(encoded_by_cv2(deep), spec), spec))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 24, 32, 3), np.uint8), r"must be of shape .*; got shape \(2, 24, 32, 3\)"),
        (np.zeros(5, np.uint8), r"must be of shape .*; got shape \(5,\)"),
        (np.zeros((0, 5, 3), np.uint8), "must be of shape"),
        (np.zeros((5, 5, 4), np.uint8), "must be of 1 or 3 channels; got 4"),
        (np.zeros((5, 5, 3), np.float32), "must be uint8 or uint16; got float32"),
        (np.zeros((5, 5), bool), "must be uint8 or uint16; got bool"),
        (np.zeros((5, 5), np.int64), "must be uint8 or uint16; got int64"),
        ([[1, 2]], "must be of shape .*; got list"),
        (None, "must be of shape .*; got NoneType"),
    ],
)
def test_preprocess_refuses_other_arrays(image, message):
    with pytest.raises(ImageError, match=message):
        preprocess(image, SPEC)


def test_to_eight_bit_leaves_eight_bits_alone():
    assert to_eight_bit(GREY, dataclasses.replace(SPEC, bit_depth=12), name="x") is GREY


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width_px": 7}, "width_px must be from 8 to 4096; got 7"),
        ({"height_px": 5000}, "height_px must be from 8 to 4096; got 5000"),
        ({"pad_grey": 256}, "pad_grey must be from 0 to 255; got 256"),
        ({"roi_px": (-1, 0, 5, 5)}, "roi_px must be x, y >= 0"),
        ({"roi_px": (0, 0, 0, 5)}, "roi_px must be x, y >= 0"),
    ],
)
def test_preprocess_spec_refuses_values_out_of_range(values, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(SPEC, **values)
