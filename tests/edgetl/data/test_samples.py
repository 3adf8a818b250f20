from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from edgetl.data.load import load_dataset
from edgetl.data.samples import Dataset, Sample, spread


def test_digest_does_not_depend_on_where_the_data_lie(parts, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(parts, moved)
    assert load_dataset(moved).digest == load_dataset(parts).digest


def test_digest_depends_on_name_content_label_and_split(parts):
    dataset = load_dataset(parts)
    first = dataset.samples[0]
    other = "val" if first.split == "train" else "train"
    changes = [{"path": first.path.with_name("x.png")}, {"sha256": "0" * 64}, {"label": 1}, {"split": other}]
    digests = {dataset.digest}
    for change in changes:
        samples = (dataclasses.replace(first, **change), *dataset.samples[1:])
        digests.add(dataclasses.replace(dataset, samples=samples).digest)
    assert len(digests) == 5


def test_split_digest_depends_on_content_and_split_only(parts):
    dataset = load_dataset(parts)
    renamed = tuple(dataclasses.replace(s, path=s.path.with_suffix(".bmp")) for s in dataset.samples)
    assert dataclasses.replace(dataset, samples=renamed).split_digest == dataset.split_digest
    assert load_dataset(parts, seed=1).split_digest != dataset.split_digest


def test_name_of_a_sample_outside_the_root_is_its_file_name():
    sample = Sample(path=Path("/far/a.png"), label=0, split="train", sha256="0")
    assert Dataset(root=Path("/data"), classes=("ok",), samples=(sample,)).name_of(sample) == "a.png"


def listed(*counts):
    return [
        Sample(path=Path(f"{label}-{i:03}.png"), label=label, split="val", sha256="")
        for label, count in enumerate(counts)
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("counts", "taken"),
    [((100, 100), (8, 8)), ((100, 3), (13, 3)), ((50, 1, 50), (8, 1, 7)), ((2, 3), (2, 3)), ((0, 40), (0, 16))],
)
def test_spread_takes_the_classes_in_turn_until_one_is_used_up(counts, taken):
    chosen = spread(listed(*counts), 16)
    assert len(set(chosen)) == len(chosen) == sum(taken)
    assert tuple(sum(s.label == label for s in chosen) for label in range(len(counts))) == taken
    assert [s.label for s in chosen][: len([c for c in taken if c])] == [i for i, c in enumerate(taken) if c]


def test_spread_is_not_the_head_of_the_list():
    """The first images of a class are of one lot: those chosen come from all over it."""
    chosen = sorted(int(s.path.stem[2:]) for s in spread(listed(100), 4))
    assert chosen == [12, 37, 62, 87]
