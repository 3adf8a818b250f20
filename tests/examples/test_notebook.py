"""The notebook is executed, cell by cell, and what it shows begins with the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"
pytestmark = pytest.mark.timeout(1800)  # a real training; the bound is for what never ends
# runs the cells in one namespace and prints, as JSON, what each would show: its last expression, as a notebook does
PROGRAM = """
import ast, json, sys

space, shown = {"__name__": "__main__"}, []
for source in json.load(sys.stdin):
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), space)
    value = None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), space)
    html = value._repr_html_() if hasattr(value, "_repr_html_") else None
    shown.append({"text": repr(value), "html": html})
print(json.dumps(shown))
"""


def code_cells():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    sources = ["".join(cell["source"]) for cell in code_cells()]
    own = {"EDGETL_CACHE": str(folder / "cache"), "EDGETL_STATE": str(folder / "state"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(sources), capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, **own},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_outputs_are_stripped_and_cells_have_names():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], len(notebook["cells"]) <= 12) == (4, True)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells())


def test_training_and_deployment_show_the_answer_first(shown):
    for cell in (shown[1], shown[2]):
        assert cell["text"].startswith("May I ship this? ")
        assert cell["html"].startswith("<div><strong>May I ship this? ")
    assert "<table>" in shown[2]["html"]


def test_every_part_gets_a_verdict_and_measuring_an_answer(shown):
    assert shown[3]["text"].count("'NOK'") == shown[3]["text"].count("'OK'") == 3
    assert "parts.edgetl" in shown[4]["text"]
