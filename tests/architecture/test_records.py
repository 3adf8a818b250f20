"""A benchmark replaces its own record only, whole or not at all: a name given by hand cannot end another's."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from edgetl_runtime.errors import UsageError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def conditions(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("conditions", ROOT / "benchmarks" / "conditions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    return module


def test_a_record_takes_the_place_of_the_last_one_of_its_benchmark(conditions):
    conditions.write_record("pcb", {"schema": "edgetl.bench.accuracy/1", "runs": 1})
    path = conditions.write_record("pcb", {"schema": "edgetl.bench.accuracy/2", "runs": 2})
    assert json.loads(path.read_text(encoding="utf-8"))["runs"] == 2
    assert [file.name for file in path.parent.iterdir()] == ["pcb.json"]


def test_a_name_of_another_benchmark_is_refused_and_its_record_stays(conditions):
    path = conditions.write_record("station", {"schema": "edgetl.bench.station/1"})
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"record station must be of edgetl\.bench\.checkouts/1; got the name of a"):
        conditions.write_record("station", {"schema": "edgetl.bench.checkouts/1"})
    assert path.read_bytes() == before


def test_every_script_writes_its_records_through_the_harness():
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    assert [path.name for path in scripts if "RESULTS /" in path.read_text(encoding="utf-8")] == ["conditions.py"]
