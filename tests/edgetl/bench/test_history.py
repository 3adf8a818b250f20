"""Records side by side: only comparable ones form a series, and disturbed ones none."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from edgetl.bench import history
from edgetl.cli import records as command
from edgetl_runtime.bench.record import Record, write_record
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_read_all_takes_files_and_folders_oldest_first(make: Callable[..., Record], tmp_path: Path) -> None:
    for day, p50 in ((3, 5.0), (1, 6.0), (2, 7.0)):
        write_record(tmp_path / f"{p50:g}.bench.json.gz", make(p50, day=day))
    (tmp_path / "notes.json").write_text("{}")
    found = history.read_all([tmp_path])
    assert [round(r.summary["decision_ms"]["p50"]) for r in found] == [6, 7, 5]
    assert len(history.read_all([tmp_path / "5.bench.json.gz"])) == 1


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one with records"):
        history.read_all([tmp_path])


def test_a_change_of_level_is_said(make: Callable[..., Record]) -> None:
    values = [5.0, 5.01, 4.99, 5.0, 5.02, 5.5, 5.49, 5.51, 5.5, 5.52]
    records = [make(value, day=i + 1) for i, value in enumerate(values)]
    (one,) = history.series(records)
    assert one.changes == (5,)
    assert history.changes([one]) == ["part v: from 2026-01-06T00:00 on 5.000 → 5.500 ms (+10.0%)"]


def test_other_machines_images_and_disturbed_rounds_are_other_series(make: Callable[..., Record]) -> None:
    base = make(5.0)
    others = [
        dataclasses.replace(base, environment={**base.environment, "fingerprint": "e" * 64}),
        dataclasses.replace(base, images=dataclasses.replace(base.images, sha256="0" * 64)),
        dataclasses.replace(base, verdict="disturbed"),
    ]
    assert [len(one.p50_ms) for one in history.series([base, make(5.1), *others])] == [2, 1, 1]


def test_rows_mark_the_front(make: Callable[..., Record]) -> None:
    records = [make(1.0, accuracy=0.9), make(2.0, accuracy=0.95), make(3.0, accuracy=0.94), make(4.0)]
    assert [row.front for row in history.rows(records)] == [True, True, False, None]
    table = history.text(records).splitlines()
    assert table[1].split()[-2:] == ["0.9000", "Pareto"]
    assert table[4].split()[-1] == "-"


def test_of_equal_records_all_are_on_the_front(make: Callable[..., Record]) -> None:
    records = [make(1.0, accuracy=0.9), make(1.0, accuracy=0.9), make(1.0, accuracy=0.8)]
    assert [row.front for row in history.rows(records)] == [True, True, False]


def test_the_command_gives_rows_and_series_as_plain_values(make: Callable[..., Record], tmp_path: Path) -> None:
    write_record(tmp_path / "a.bench.json", make(1.0, accuracy=0.9))
    asked = argparse.Namespace(records=[tmp_path], report=None, plots=None, summary=None, force=False)
    found = json.loads(json.dumps(command.run(asked)))
    assert (found["records"][0]["p50_ms"], found["records"][0]["front"]) == (1.0, True)
    assert found["series"][0]["p50_ms"] == [1.0]


def test_markdown_escapes_what_ends_a_cell(make: Callable[..., Record]) -> None:
    record = make(1.0)
    odd = dataclasses.replace(record, bundle=dataclasses.replace(record.bundle, name="a|b.edgetl"))
    rows = history.markdown([odd]).splitlines()
    assert "a\\|b.edgetl" in rows[2]
    assert rows[0].count("|") == rows[2].replace("\\|", "").count("|")
