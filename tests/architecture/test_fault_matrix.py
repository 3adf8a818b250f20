"""The matrix of faults names tests that exist, and leaves no row of storage, bundles, trust and fit out."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"I": "edgetl_runtime/install", "R": "edgetl_runtime", "T": "edgetl/transport", "D": "edgetl/deploy"}
MATRIX = tomllib.loads((ROOT / "fault_matrix.toml").read_text(encoding="utf-8"))
WANTED = [*range(1, 6), *range(10, 20), *range(20, 29), *range(30, 44), *range(50, 57), 60, 61, 70, 73]


def functions(path):
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def unknown(row):
    """Yield the tests of a row that are nowhere."""
    for name in row.get("tests", []):
        file, _, function = name.partition("::")
        key, _, rest = file.partition("/")
        path = ROOT / FOLDERS[key] / rest
        if not path.is_file() or function not in functions(path):
            yield name


@pytest.mark.parametrize("row", MATRIX.values(), ids=MATRIX.keys())
def test_a_row_says_its_fault_and_its_tests_or_the_reason(row):
    assert row["fault"]
    assert row.get("tests") or row.get("reason")
    assert list(unknown(row)) == []


def test_no_row_is_left_out():
    assert [f"F{number:02}" for number in WANTED if f"F{number:02}" not in MATRIX] == []


def test_a_test_that_was_renamed_is_noticed():
    assert list(unknown({"tests": ["I/test_installer.py::test_gone", "I/nowhere.py::test_x"]})) == [
        "I/test_installer.py::test_gone",
        "I/nowhere.py::test_x",
    ]


def test_exhaustive_parts_are_those_that_are_recorded():
    source = (ROOT.parent / "benchmarks" / "all_faults.py").read_text(encoding="utf-8")
    assert all(f'"{row["exhaustive"]}"' in source for row in MATRIX.values() if "exhaustive" in row)
