from __future__ import annotations

import csv
import importlib.util
from collections import Counter

import pytest

from edgetl.data.elpv import write_elpv_csv
from edgetl.data.load import load_dataset
from edgetl.errors import DataError
from edgetl_runtime.errors import UsageError

needs_elpv = pytest.mark.skipif(
    importlib.util.find_spec("elpv_dataset") is None, reason="elpv-dataset is not installed: make install"
)


def rows_of(file):
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@needs_elpv
def test_write_elpv_csv_splits_by_label_and_cell_type(tmp_path):
    rows = rows_of(write_elpv_csv(tmp_path, seed=0))
    assert len(rows) == 2624
    assert Counter(row["label"] for row in rows) == {"functional": 1803, "defective": 821}
    assert Counter(row["certainty"] for row in rows) == {"1.0000": 2223, "0.6667": 401}
    found = Counter((row["label"], row["cell_type"], row["split"]) for row in rows)
    for label, cell_type in {(row["label"], row["cell_type"]) for row in rows}:
        total = sum(found[label, cell_type, split] for split in ("train", "val", "test"))
        assert found[label, cell_type, "test"] == pytest.approx(total * 0.25, abs=1)
        assert found[label, cell_type, "val"] == pytest.approx(total * 0.75 * 0.15, abs=1)


@needs_elpv
def test_write_elpv_csv_gives_other_splits_for_another_seed(tmp_path):
    first, again, other = (rows_of(write_elpv_csv(tmp_path / str(i), seed=s)) for i, s in enumerate((0, 0, 1)))
    assert first == again
    assert first != other


@needs_elpv
def test_write_elpv_csv_can_be_loaded_and_limited(tmp_path):
    dataset = load_dataset(write_elpv_csv(tmp_path, seed=0, limit=60))
    assert len(dataset.samples) == pytest.approx(60, abs=3)
    assert dataset.classes == ("defective", "functional")
    assert {sample.split for sample in dataset.samples} == {"train", "val", "test"}


@needs_elpv
@pytest.mark.parametrize("limit", [0, 39, 5000])
def test_write_elpv_csv_refuses_a_limit_out_of_range(tmp_path, limit):
    with pytest.raises(UsageError, match="limit must be from 40 to 2624"):
        write_elpv_csv(tmp_path, seed=0, limit=limit)


def test_write_elpv_csv_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r'elpv-dataset must be installed; .*\nTry: pip install "edgetl\[quickstart\]"'):
        write_elpv_csv(tmp_path, seed=0)
