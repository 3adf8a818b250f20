"""A task is one file on each side: a toy that is added as two files goes the whole way, and nothing else changes."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl import tasks as host_tasks
from edgetl_runtime import tasks as device_tasks

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).parent / "toy_task"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Copies of both packages with the toy's two files."""
    house = tmp_path_factory.mktemp("house")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "edgetl", house / "edgetl", ignore=ignored)
    shutil.copytree(ROOT / "devices", house / "devices")
    shutil.copytree(ROOT / "runtimes" / "edgetl_runtime", house / "edgetl_runtime", ignore=ignored)
    (house / "edgetl/tasks/shouting").mkdir()
    shutil.copy(TOY / "host.py", house / "edgetl/tasks/shouting/__init__.py")
    shutil.copy(TOY / "device.py", house / "edgetl_runtime/tasks/shouting.py")
    return house


@pytest.fixture(scope="module")
def call(house, tmp_path_factory):
    own = tmp_path_factory.mktemp("own")
    places = {"XDG_CACHE_HOME": str(own), "XDG_STATE_HOME": str(own), "PYTHONPATH": str(house)}

    def call(package, *arguments):
        command = [sys.executable, "-P", "-m", package, *map(str, arguments), "--json"]
        environment = os.environ | places
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(done.stdout)

    return call


def test_a_toy_task_is_trained_exported_quantized_bundled_measured_and_decides(call, tmp_path):
    from tests.edgetl.conftest import write_parts

    parts = write_parts(tmp_path / "parts")
    options = ["--task", "shouting", "--weights", "none", "--preset", "fast", "--image-size", 64]
    trained = call("edgetl", "finetune", parts, "--out", tmp_path / "run", *options)
    assert trained["task"] == "shouting"
    loose = ["--max-drop-pp", 100, "--max-flips-pct", 100, "--precision", "int8", "--backend", "onnxruntime"]
    target = ["--target", "local", "--threads", 1, "--allow-disturbed"]
    bundle = tmp_path / "part.edgetl"
    deployed = call("edgetl", "deploy", tmp_path / "run", "--out", bundle, *target, *loose)
    assert deployed["chosen"] == "onnxruntime-int8-t1"
    verified = call("edgetl_runtime", "verify", bundle)
    assert verified["exit"] == 0
    verdicts = {"GOOD", "HOLE", "UNSURE"}
    decided = call("edgetl_runtime", "predict", bundle, parts)
    assert {one["verdict"] for one in decided["decisions"]} <= verdicts
    assert set(decided["summary"]["verdicts"]) == verdicts
    assert decided["summary"]["labelled"]["errors"] == sum(
        one["verdict"] not in ("UNSURE", Path(one["image"]).parent.name.upper()) for one in decided["decisions"]
    )
    quick = ["--rounds", 3, "--seconds", 0, "--iterations", 20, "--warmup", 0.1, "--allow-disturbed"]
    measured = call("edgetl_runtime", "bench", bundle, *quick, "--data", parts)
    assert measured["task"] == "shouting"
    assert measured["accuracy"]["errors"] == decided["summary"]["labelled"]["errors"]


def test_every_task_has_both_halves():
    assert host_tasks.names() == device_tasks.names() == ("inspection", "sorting")


@pytest.mark.parametrize("name", host_tasks.names())
def test_what_tables_show_is_counted_by_both_halves(name):
    task = host_tasks.get(name)
    assert task.name == task.device.name == name
    options = [one.name for one in (*task.training_options, *task.contract_options)]
    assert len(set(options)) == len(options)
    fields = {one.field for one in task.contract_options}
    assert fields == {field.name for field in dataclasses.fields(task.device.bounds_type)}
    assert {one.field for one in task.training_options} == task.aim_names()


def test_options_of_tasks_do_not_meet():
    found = [
        one.name
        for task in map(host_tasks.get, host_tasks.names())
        for one in (*task.training_options, *task.contract_options)
    ]
    assert len(set(found)) == len(found)


# modules outside tasks/ that may name a task or what only a task knows, and why
WORDS = re.compile(
    r"(?i)\b(?:\w+_)?(?:defect|threshold|temperature|escape|overkill|inspection|sorting)(?:s|ive)?(?:_\w+)?\b"
)
MAY_NAME = {
    "edgetl/data/elpv.py": "the demo's images are of defective cells",
    "edgetl/api/measurement.py": "bench's own two limits, older than the contract's terms",
    "edgetl/bench/": "the same two limits, and a column of old records",
    "edgetl_runtime/bench/limits.py": "the same two limits",
    "edgetl_runtime/bench/options.py": "the same two limits",
    "edgetl/cli/contract_options.py": "an example in a help text",
    "edgetl_runtime/doctor/": "temperatures of chips",
    "edgetl_runtime/bench/conditions.py": "temperature of the chip",
    "edgetl_runtime/bench/statistics.py": "a threshold of a change in latency",
    "edgetl_runtime/bench/measuring.py": "a threshold of a change in latency",
}


def named(path):
    """Yield the identifiers and strings of a module's code that name what only a task knows; docstrings may explain."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    explained = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
    }
    for node in ast.walk(tree):
        words = ""
        if isinstance(node, ast.Name):
            words = node.id
        elif isinstance(node, ast.Attribute):
            words = node.attr
        elif isinstance(node, (ast.arg, ast.keyword)):
            words = node.arg or ""
        elif isinstance(node, ast.alias):
            words = node.name.rpartition(".")[2]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explained:
            words = node.value
        for word in WORDS.findall(words):
            if word not in ("escape", "unicode_escape"):  # of HTML and of letters
                yield f"{path.name}:{getattr(node, 'lineno', 0)} {word}"


def modules():
    for root in (ROOT, ROOT / "runtimes"):
        for path in sorted((root / ("edgetl" if root == ROOT else "edgetl_runtime")).rglob("*.py")):
            yield str(path.relative_to(root)), path


def test_nothing_outside_the_tasks_names_a_task_a_defect_a_threshold_or_a_temperature():
    found = {
        name: list(named(path))
        for name, path in modules()
        if "/tasks/" not in name and not any(name.startswith(place) for place in MAY_NAME)
    }
    assert {name: words for name, words in found.items() if words} == {}


def test_every_exception_is_needed():
    for place in MAY_NAME:
        assert any(list(named(path)) for name, path in modules() if name.startswith(place)), place


def test_a_planted_name_is_found(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text('"""Defects are explained."""\nif run.task == "inspection" and run.nok_threshold > 0:\n    pass\n')
    assert len(list(named(path))) == 2
