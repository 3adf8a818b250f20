from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgetl.data.splits import carve, make_splits


def test_make_splits_takes_the_fractions_of_every_stratum():
    strata = ["a"] * 200 + ["b"] * 40 + ["c"] * 8
    splits = make_splits(strata, range(248), seed=1, val_fraction=0.15, test_fraction=0.25)
    assert Counter(zip(strata, splits, strict=True)) == {
        ("a", "train"): 128,
        ("a", "val"): 22,
        ("a", "test"): 50,
        ("b", "train"): 26,
        ("b", "val"): 4,
        ("b", "test"): 10,
        ("c", "train"): 5,
        ("c", "val"): 1,
        ("c", "test"): 2,
    }


def test_make_splits_puts_five_images_of_a_class_into_all_three():
    splits = make_splits(["a"] * 5, range(5), seed=0, val_fraction=0.15, test_fraction=0.25)
    assert Counter(splits) == {"train": 3, "val": 1, "test": 1}


@pytest.mark.parametrize("seed", range(20))
def test_make_splits_parts_no_group_and_nearly_keeps_the_shares(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 40, 400).tolist()
    strata = rng.choice(["ok", "ok", "ok", "dent"], 400).tolist()
    splits = make_splits(strata, groups, seed=seed, val_fraction=0.15, test_fraction=0.25)
    assert all(len({s for s, g in zip(splits, groups, strict=True) if g == group}) == 1 for group in set(groups))
    share = Counter(zip(strata, splits, strict=True))
    for stratum in ("ok", "dent"):
        total = strata.count(stratum)
        assert share[stratum, "test"] / total == pytest.approx(0.25, abs=0.08)
        assert share[stratum, "val"] / total == pytest.approx(0.75 * 0.15, abs=0.08)


def test_carve_takes_a_group_larger_than_the_share_when_a_class_would_get_none():
    strata = ["a"] * 30 + ["b"] * 30
    groups = ["a1"] * 15 + ["a2"] * 15 + [f"b{i}" for i in range(30)]
    chosen = carve(strata, groups, fraction=0.2, seed=0)
    assert Counter(strata[i] for i in chosen) == {"a": 15, "b": 6}


def test_carve_never_takes_all_of_a_stratum():
    assert carve(["a", "a", "b"], [0, 1, 2], fraction=0.99, seed=0) in ([0], [1])


def test_carve_differs_by_seed():
    chosen = {tuple(carve(["a"] * 50, range(50), fraction=0.2, seed=seed)) for seed in range(10)}
    assert len(chosen) == 10
