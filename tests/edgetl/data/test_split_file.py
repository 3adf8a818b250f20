"""The split of a run: written and read back, and never mistaken for that of other images."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from edgetl.data.load import load_dataset
from edgetl.data.split_file import check_split, read_split, write_split
from edgetl.errors import RunError


@pytest.fixture
def written(parts, tmp_path):
    data = load_dataset(parts)
    samples = (dataclasses.replace(data.samples[0], certainty=0.75, group="lot 1"), *data.samples[1:])
    data = dataclasses.replace(data, samples=samples)
    path = tmp_path / "split.csv"
    write_split(path, data)
    return path, data


def test_split_comes_back(written):
    path, data = written
    assert read_split(path, data.classes) == data.samples
    check_split(path, data)


def test_split_keeps_names_that_are_not_utf8(written):
    path, data = written
    odd = Path(os.fsdecode(os.fsencode(data.root) + b"/ok/\xff,\n.png"))
    data.samples[0].path.rename(odd)
    data = dataclasses.replace(data, samples=(dataclasses.replace(data.samples[0], path=odd), *data.samples[1:]))
    write_split(path, data)
    assert read_split(path, data.classes)[0].path == odd


@pytest.mark.parametrize(
    "change", [{"sha256": "0" * 64}, {"label": 1}, {"split": "test"}], ids=["content", "label", "split"]
)
def test_check_split_refuses_a_changed_image(written, change):
    path, data = written
    first = next(s for s in data.samples if s.split == "train" and s.label == 0)
    samples = tuple(dataclasses.replace(s, **change) if s is first else s for s in data.samples)
    with pytest.raises(RunError, match=rf"1 added, removed or changed, the first .*{first.path.name}"):
        check_split(path, dataclasses.replace(data, samples=samples))


def test_check_split_refuses_an_image_more(written):
    path, data = written
    with pytest.raises(RunError, match="the images must be those the run was started with"):
        check_split(path, dataclasses.replace(data, samples=data.samples[1:]))


@pytest.mark.parametrize("content", ["", "path\nx\n", "path,label,split,group,certainty,sha256\nx,cat,train,,1,0\n"])
def test_read_split_refuses_a_damaged_file(written, content):
    path, data = written
    path.write_text(content)
    with pytest.raises(RunError, match="must be a readable split"):
        read_split(path, data.classes)


def test_read_split_names_the_first_image_that_is_gone(written):
    path, data = written
    data.samples[3].path.unlink()
    with pytest.raises(RunError, match=rf"got 1 images gone, the first .*{data.samples[3].path.name}"):
        read_split(path, data.classes)
