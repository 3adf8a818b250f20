"""The slice: stratified, seeded, without a single test image, and readable by fine-tuning."""

from __future__ import annotations

import collections

import pytest

from edgetl.data.load import load_dataset
from edgetl.search.slices import LEAST_PER_CLASS, choose_slice, write_slice


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_parts):
    return load_dataset(make_parts(tmp_path_factory.mktemp("slice") / "parts", counts={"good": 120, "hole": 30}))


def test_slice_keeps_shares_small_classes_and_the_test_unseen(data):
    chosen = choose_slice(data, count=48, seed=0)
    found = collections.Counter((s.split, data.classes[s.label]) for s in chosen)
    assert {split for split, _ in found} == {"train", "val"}
    assert found["train", "hole"] == LEAST_PER_CLASS  # its share of 48 would be 10
    assert found["train", "good"] == pytest.approx(48 * 0.8, abs=2)
    assert chosen == choose_slice(data, count=48, seed=0) != choose_slice(data, count=48, seed=1)
    everything = choose_slice(data, count=10_000, seed=0)
    assert len(everything) == len(data.split("train")) + len(data.split("val"))


def test_slice_is_a_data_set_whose_test_comes_from_training(data, tmp_path):
    chosen = choose_slice(data, count=60, seed=0)
    write_slice(tmp_path / "slice.csv", data, chosen)
    loaded = load_dataset(tmp_path / "slice.csv")
    assert {s.sha256 for s in loaded.samples} == {s.sha256 for s in chosen}
    assert {s.sha256 for s in loaded.split("val")} == {s.sha256 for s in chosen if s.split == "val"}
    assert {s.sha256 for s in loaded.split("test")} <= {s.sha256 for s in data.split("train")}
