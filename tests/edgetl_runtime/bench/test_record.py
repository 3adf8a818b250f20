"""Records keep every sample and are read strictly."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench.record import Record, Round, read_record, summarise, write_record
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["r.json", "r.json.gz"])
def test_a_record_is_read_as_it_was_written(record: Record, name: str, tmp_path: Path) -> None:
    write_record(tmp_path / name, record)
    again = read_record(tmp_path / name)
    assert again.rounds == record.rounds
    assert again.bundle == record.bundle
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_summarise_gives_percentiles_only_where_n_allows(record: Record) -> None:
    found = summarise(record.rounds)
    decision = found["decision_ms"]
    assert decision["n"] == 360
    assert decision["p99"] is not None
    assert decision["p99.9"] is None
    assert decision["p50"] == pytest.approx(5.25 + 0.0295)
    assert decision["interval"][0] < decision["p50"] < decision["interval"][1]
    assert (found["rounds"], found["unsteady"], found["start_ms"], found["memory_mb"]) == (6, 1, 302.5, 85.0)
    assert summarise(record.rounds[:4])["decision_ms"]["interval"] is None


def test_outliers_are_counted_and_kept() -> None:
    spiky = Round(side="A", index=0, steady=True, decision_ms=(*[1.0 + i / 1000 for i in range(50)], 9.0, 8.0))
    found = summarise([spiky])["decision_ms"]
    assert (found["outliers"], found["max"], found["n"]) == (2, 9.0, 52)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not json", "JSON, plain or gzip"),
        (gzip.compress(b"{}", mtime=0)[:-9], "JSON, plain or gzip"),
        (b"{}", "of schema edgetl.bench/1"),
        (json.dumps({"schema": "edgetl.bench/1", "extra": 1}).encode(), "a known key"),
    ],
)
def test_read_record_refuses_other_files(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(UsageError, match=words):
        read_record(tmp_path / "x.json")
