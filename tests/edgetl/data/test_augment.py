from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgetl.data.augment import OFF, AugmentConfig, augment
from edgetl_runtime.errors import ShapeError, UsageError

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)


def only(**on):
    return dataclasses.replace(OFF, **on)


def many(image, config, count=64):
    return [augment(image, np.random.default_rng((7, i)), config) for i in range(count)]


def test_augment_is_a_function_of_image_generator_and_config():
    config = AugmentConfig()
    first, again, other = (augment(IMAGE, np.random.default_rng((1, i)), config) for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("shape", [(48, 48, 3), (31, 57, 3), (8, 100, 3)])
def test_augment_keeps_shape_and_dtype_and_never_touches_its_input(shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    image.flags.writeable = False
    for out in many(image, AugmentConfig(), 20):
        assert out.shape == shape
        assert out.dtype == np.uint8
        assert out.flags.c_contiguous
        assert out.flags.writeable
        assert not np.may_share_memory(out, image)
    np.testing.assert_array_equal(image, before)


def test_augment_switched_off_copies():
    for out in many(IMAGE, OFF, 8):
        np.testing.assert_array_equal(out, IMAGE)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (only(flip_h=True), {0: IMAGE, 1: IMAGE[:, ::-1]}),
        (only(flip_v=True), {0: IMAGE, 1: IMAGE[::-1]}),
        (only(rotate90=True), {k: np.rot90(IMAGE, k) for k in range(4)}),
    ],
    ids=["flip_h", "flip_v", "rotate90"],
)
def test_augment_gives_every_exact_turn_and_nothing_else(config, expected):
    seen = {out.tobytes() for out in many(IMAGE, config)}
    assert seen == {np.ascontiguousarray(image).tobytes() for image in expected.values()}


def test_augment_turns_only_by_180_degrees_where_the_image_is_not_square():
    image = IMAGE[:, :30]
    seen = {out.tobytes() for out in many(image, only(rotate90=True))}
    assert seen == {image.tobytes(), np.ascontiguousarray(image[::-1, ::-1]).tobytes()}


def test_augment_reflects_what_comes_in_from_outside():
    white = np.full((48, 48, 3), 255, np.uint8)
    assert all((out == 255).all() for out in many(white, only(affine=True)))


def test_augment_moves_a_little_only():
    ramp = np.repeat(np.linspace(0, 255, 48).astype(np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    config = only(affine=True, max_turn_deg=0, max_scale=0, max_shift=0.05)
    shifts = [abs(int(out[24, 24, 0]) - int(ramp[24, 24, 0])) for out in many(ramp, config)]
    assert max(shifts) <= 255 * 0.05 + 2
    assert len(set(shifts)) > 4


def test_augment_changes_tone_by_one_table_for_all_pixels():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    for out in many(grey, only(photometric=True)):
        levels = out[..., 0].ravel().astype(int)
        assert (np.diff(levels) >= 0).all()
        assert abs(levels[128] - 128) <= 0.12 * 255 + 1
        np.testing.assert_array_equal(out[..., 0], out[..., 2])


def test_augment_adds_noise_of_zero_mean_and_bounded_deviation_to_half_the_images():
    grey = np.full((64, 64, 3), 128, np.uint8)
    noise = [out.astype(float) - 128 for out in many(grey, only(noise=True, noise_grey=8.0))]
    noisy = [n for n in noise if n.any()]
    assert 16 <= len(noisy) <= 48
    assert max(abs(n.mean()) for n in noisy) < 0.5
    assert 4 < max(n.std() for n in noisy) < 8.5


def test_augment_noise_does_not_wrap_around():
    for level in (0, 255):
        flat = np.full((32, 32, 3), level, np.uint8)
        for out in many(flat, only(noise=True, noise_grey=20.0), 20):
            assert np.abs(out.astype(int) - level).max() < 100


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 1), np.uint8), np.zeros((8, 8, 3), np.float32)]
)
def test_augment_refuses_other_shapes_and_types(image):
    with pytest.raises(ShapeError, match=r"image must be of shape \(height, width, 3\), uint8"):
        augment(image, np.random.default_rng(0), OFF)


@pytest.mark.parametrize(
    "name", ["max_turn_deg", "max_shift", "max_scale", "max_brightness", "max_contrast", "noise_grey"]
)
@pytest.mark.parametrize("value", [-0.1, 1000.0, float("nan")])
def test_augment_config_refuses_strengths_out_of_range(name, value):
    with pytest.raises(UsageError, match=rf"augment\.{name} must be from 0 to"):
        AugmentConfig(**{name: value})
