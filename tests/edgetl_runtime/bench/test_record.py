"""Records keep every sample and are read strictly."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench.record import BundleFacts, ImageFacts, Record, Round, read_record, summarise, write_record
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def rounds(count: int = 6, n: int = 60) -> tuple[Round, ...]:
    return tuple(
        Round(
            side="A",
            index=i,
            steady=i > 0,
            decision_ms=tuple(5 + i / 10 + j / 1000 for j in range(n)),
            start_ms=300.0 + i,
            memory_mb=80.0 + i,
        )
        for i in range(count)
    )


@pytest.fixture
def record() -> Record:
    measured = rounds()
    return Record(
        created="2026-01-01T00:00:00+00:00",
        bundle=BundleFacts(
            name="part.edgetl",
            file_sha256="a" * 64, manifest_sha256="b" * 64, size_bytes=9, line="part", classes=("bad", "ok"),
            defect_classes=("bad",), variant="v", backend="null", precision="f32", threads=1, chosen=True,
        ),
        images=ImageFacts(n=16, sha256="c" * 64, source="bundle"),
        environment={"fingerprint": "d" * 64},
        protocol={"rounds": 6},
        summary=summarise(measured),
        accuracy=None,
        rounds=measured,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["r.json", "r.json.gz"])
def test_a_record_is_read_as_it_was_written(record: Record, name: str, tmp_path: Path) -> None:
    write_record(tmp_path / name, record)
    again = read_record(tmp_path / name)
    assert again.rounds == record.rounds
    assert again.bundle == record.bundle
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_summarise_gives_percentiles_only_where_n_allows() -> None:
    found = summarise(rounds(count=6, n=60))
    decision = found["decision_ms"]
    assert decision["n"] == 360
    assert decision["p99"] is not None
    assert decision["p99.9"] is None
    assert decision["p50"] == pytest.approx(5.25 + 0.0295)
    assert decision["interval"][0] < decision["p50"] < decision["interval"][1]
    assert (found["rounds"], found["unsteady"], found["start_ms"], found["memory_mb"]) == (6, 1, 302.5, 85.0)
    assert summarise(rounds(count=4, n=60))["decision_ms"]["interval"] is None


def test_outliers_are_counted_and_kept() -> None:
    spiky = Round(side="A", index=0, steady=True, decision_ms=(*[1.0 + i / 1000 for i in range(50)], 9.0, 8.0))
    found = summarise([spiky])["decision_ms"]
    assert (found["outliers"], found["max"], found["n"]) == (2, 9.0, 52)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not json", "JSON, plain or gzip"),
        (gzip.compress(b"{}")[:-9], "JSON, plain or gzip"),
        (b"{}", "of schema edgetl.bench/1"),
        (json.dumps({"schema": "edgetl.bench/1", "extra": 1}).encode(), "a known key"),
    ],
)
def test_read_record_refuses_other_files(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(UsageError, match=words):
        read_record(tmp_path / "x.json")
