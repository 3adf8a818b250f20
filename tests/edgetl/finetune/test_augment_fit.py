"""What images bear: an augmentation under which the baseline no longer knows them is weakened or left out."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.data.augment import OFF, AugmentConfig
from edgetl.finetune.augment_fit import KEPT_SHARE, fit_augmentation

LABELS = np.arange(48) % 2


def striped():
    """Class 1 has its bright stripe two rows below class 0's: shifts confuse them, tone does not."""
    images = np.full((48, 32, 32, 3), 60, np.uint8)
    for image, label in zip(images, LABELS, strict=True):
        image[14 + 2 * label] = 220
    return images


def by_row(images):
    rows = images[..., 0].astype(np.float32).mean(axis=2)
    evidence = (rows[:, 16] - rows[:, 14]) / 16
    return np.stack([-evidence, evidence], axis=1)


def fitted(wish, logits_of=by_row, labels=LABELS):
    config, borne = fit_augmentation(wish, striped(), labels, logits_of, seed=0)
    return config, {one.name: one for one in borne}


def test_shift_that_moves_the_defect_is_left_out_and_tone_stays():
    config, borne = fitted(AugmentConfig(max_shift=0.4))
    assert not config.affine
    assert borne["affine"].kept_share < KEPT_SHARE
    assert config.photometric
    assert config.max_contrast == AugmentConfig().max_contrast
    assert borne["flip_h"].strength == 1.0
    assert borne["flip_h"].kept_share == pytest.approx(1.0, abs=0.02)


def test_turning_is_left_out_where_the_direction_tells_the_class():
    config, borne = fitted(AugmentConfig(flip_v=False))
    assert (config.rotate90, borne["rotate90"].strength) == (False, 0.0)
    assert "flip_v" not in borne


def test_weaker_shift_is_kept_where_only_the_full_one_hurts():
    half_a_row = AugmentConfig(max_turn_deg=0, max_shift=0.08, max_scale=0)
    config, borne = fitted(half_a_row)
    assert 0 < borne["affine"].strength < 1
    assert config.max_shift == pytest.approx(0.08 * borne["affine"].strength)
    assert borne["affine"].kept_share >= KEPT_SHARE


def test_nothing_is_concluded_from_a_baseline_that_knows_nothing():
    wish = AugmentConfig()
    assert fit_augmentation(wish, striped(), LABELS, lambda x: np.zeros((len(x), 2), np.float32), seed=0) == (wish, ())


def test_what_was_switched_off_stays_off():
    assert fitted(OFF) == (OFF, {})
