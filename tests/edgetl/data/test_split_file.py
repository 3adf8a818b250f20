"""The split of a run: written and read back, and never mistaken for that of other images."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from edgetl.data.images import load_images
from edgetl.data.load import load_dataset
from edgetl.data.split_file import check_split, read_split, recall, samples_of, write_split
from edgetl.errors import DataError, RunError
from edgetl.run import RunFolder, write_json
from edgetl_runtime.errors import UsageError


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


def test_split_is_a_data_set_with_the_same_splits(parts, tmp_path):
    data = load_dataset(parts)
    write_split(tmp_path / "split.csv", data)
    again = load_dataset(tmp_path / "split.csv", seed=5)
    assert (again.samples, again.notes) == (data.samples, ())


def test_split_keeps_names_that_are_not_utf8(written):
    path, data = written
    odd = Path(os.fsdecode(os.fsencode(data.root) + b"/ok/\xff,\n.png"))
    data.samples[0].path.rename(odd)
    data = dataclasses.replace(data, samples=(dataclasses.replace(data.samples[0], path=odd), *data.samples[1:]))
    write_split(path, data)
    assert read_split(path, data.classes)[0].path == odd


@pytest.mark.parametrize(
    "change",
    [{"sha256": "0" * 64}, {"label": 1}, {"split": "test"}, {"certainty": 0.6}, {"group": "lot 9"}],
    ids=["content", "label", "split", "certainty", "group"],
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


HEADER = "path,label,split,group,certainty,sha256\n"


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("", "none"),
        ("path\nx\n", "in line 2 no label"),
        (HEADER + "x,cat,train,,1,0\n", "in line 2 the label 'cat', which is no class of the run"),
        (HEADER + "x,ok,dev,,1,0\n", "in line 2 the split 'dev'"),
        (HEADER + "x,ok,train,,sure,0\n", "in line 2 the certainty 'sure'"),
    ],
)
def test_read_split_refuses_a_damaged_file_and_says_where(written, content, got):
    path, data = written
    path.write_text(content)
    with pytest.raises(RunError, match=rf"must be a split .*; got {got}\."):
        read_split(path, data.classes)


def test_read_split_names_the_first_image_that_is_gone(written):
    path, data = written
    data.samples[3].path.unlink()
    with pytest.raises(RunError, match=rf"got 1 images gone, the first .*{data.samples[3].path.name}"):
        read_split(path, data.classes)


def test_recall_takes_the_run_in_the_folder_unless_told_otherwise(written, tmp_path):
    path, data = written
    folder = RunFolder(tmp_path)  # split.csv lies in it
    known = recall(None, folder)
    assert known is not None
    assert known.splits == {s.sha256: s.split for s in data.samples}
    assert recall("none", folder) is None
    assert recall(None, RunFolder(tmp_path / "new")) is None
    with pytest.raises(UsageError, match=r"must be a run, or its split\.csv; got no such file"):
        recall(str(tmp_path / "absent"), folder)
    path.write_text("damaged")
    with pytest.raises(RunError, match="must be a split with images"):
        recall(str(tmp_path), folder)


def test_looks_at_test_are_counted_by_its_images(written, tmp_path):
    path, data = written
    write_json(tmp_path / "run.json", {"test_looks": 3, "data": {"split_digest": data.split_digest}})
    known = recall(str(path), RunFolder(tmp_path / "new"))
    assert known is not None
    assert known.looks_at(data.split("test")) == known.looks_at(data.split("test")[:1]) == 3
    assert known.looks_at(data.split("train")) == 0


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (
            {"test_looks": 3, "data": {"split_digest": "0" * 64}},
            r"split\.csv must be the split that run\.json was written",
        ),
        ({"test_looks": 3}, r"run\.json must be the readable record of a run"),
        ([], r"run\.json must be the readable record of a run"),
    ],
    ids=["another run's", "no digest", "no run"],
)
def test_recall_refuses_a_split_that_the_run_beside_it_does_not_know(run, words, written, tmp_path):
    write_json(tmp_path / "run.json", run)
    for split_from in (None, str(tmp_path), str(written[0])):
        with pytest.raises(RunError, match=words) as caught:
            recall(split_from, RunFolder(tmp_path))
        assert caught.value.fix.startswith("--split-from none to draw a new split")


def test_a_run_whose_images_were_moved_finds_them_where_they_are_now(run_folder, tmp_path):
    run = run_folder.read()
    before = Path(run.config["data"])
    moved = shutil.copytree(before, tmp_path / "moved.v2")
    there = samples_of(RunFolder(run_folder.path, data=moved), run)
    here = samples_of(run_folder, run)
    assert [s.path.relative_to(moved) for s in there] == [s.path.relative_to(before.resolve()) for s in here]
    assert [dataclasses.replace(s, path=Path()) for s in there] == [dataclasses.replace(s, path=Path()) for s in here]
    there[0].path.write_bytes(there[1].path.read_bytes())
    with pytest.raises(DataError, match="as it was when scanned"):
        load_images(there[:1], run.preprocess)
    there[2].path.unlink()
    with pytest.raises(RunError, match=r"1 images gone, the first .*moved(?s:.)*--data FOLDER"):
        samples_of(RunFolder(run_folder.path, data=moved), run)
    with pytest.raises(UsageError, match="a folder; got none"):
        samples_of(RunFolder(run_folder.path, data=tmp_path / "nowhere"), run)
