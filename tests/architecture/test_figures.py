"""Figures that people read are those of the records: docs/figures.md, and the README's table against peers."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("figures", ROOT / "benchmarks" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def remarks():
    return tomllib.loads((ROOT / "benchmarks" / "remarks.toml").read_text(encoding="utf-8"))


def test_the_page_of_figures_is_made_from_the_records(figures, remarks):
    written = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    assert written == figures.page(RESULTS, remarks), "run python benchmarks/figures.py"


def test_every_record_is_on_the_page(figures, remarks):
    dates = {
        date for path in RESULTS.rglob("*.json") for date in [figures.newest(json.loads(path.read_text()))] if date
    }
    page = figures.page(RESULTS, remarks)
    assert all(date[:10] in page for date in dates)
    assert page.count("**missed**") > 20


def test_a_changed_record_changes_the_page(figures, remarks, tmp_path):
    shutil.copytree(RESULTS, tmp_path / "results")
    record = next((tmp_path / "results").rglob("runtime.json"))
    found = json.loads(record.read_text(encoding="utf-8"))
    found["starts"]["openvino"]["start_s"] = 0.5
    record.write_text(json.dumps(found), encoding="utf-8")
    page = figures.page(tmp_path / "results", remarks)
    assert "| openvino | 0.50 (goal 1) |" in page
    assert page != figures.page(RESULTS, remarks)


def test_a_record_of_an_unknown_kind_and_a_remark_on_nothing_are_refused(figures, remarks, tmp_path):
    with pytest.raises(KeyError, match="records that do not exist: nowhere"):
        figures.page(RESULTS, {**remarks, "nowhere": "text"})
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "new.json").write_text('{"schema": "edgetl.bench.new/1"}', encoding="utf-8")
    with pytest.raises(KeyError, match=r"edgetl\.bench\.new"):
        figures.page(tmp_path, {})


def test_the_readme_holds_six_figures_against_peers_and_they_are_those_of_the_records(figures):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = figures.readme_table(RESULTS)
    assert table in readme
    assert len(re.findall(r"\b\d+\.\d times", table)) == 6
    assert len(re.findall(r"\b\d+(?:\.\d+)? (?:times|ms|MB)\b", readme.replace(table, ""))) == 0
