from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from edgetl.data.load import load_dataset
from edgetl.data.samples import Dataset, Sample


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
