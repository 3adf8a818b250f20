"""The public door: importing is free, every public name is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edgetl_runtime

LOADED = """
import sys
before = set(sys.modules)
{statement}
top = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(sorted(top - set(sys.stdlib_module_names) - {{"edgetl_runtime"}}))
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import edgetl_runtime; edgetl_runtime.__version__; dir(edgetl_runtime)",
        "from edgetl_runtime.__main__ import main; main(['--help'])",
        "from edgetl_runtime.__main__ import main; main(['--version'])",
        "from edgetl_runtime.__main__ import main; main(['nonsense'])",
    ],
)
def test_import_and_help_load_no_third_party_module(statement: str) -> None:
    code = LOADED.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_import_guard_sees_a_planted_violation() -> None:
    code = LOADED.format(statement="import edgetl_runtime; edgetl_runtime.Session")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert "numpy" in done.stdout.splitlines()[-1]


def test_all_names_exist_and_are_sorted() -> None:
    assert sorted(edgetl_runtime.__all__) == list(edgetl_runtime.__all__) == dir(edgetl_runtime)
    for name in edgetl_runtime.__all__:
        assert getattr(edgetl_runtime, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgetl_runtime.nothing
