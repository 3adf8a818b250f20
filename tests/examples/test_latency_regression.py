"""The README of the example is executed: its commands in order, its code as it stands."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench.record import read_record, write_record
from edgetl_runtime.cli import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable

RUNTIME = Path(__file__).parents[2] / "runtimes"
EXAMPLE = Path(__file__).parents[2] / "examples" / "latency-regression"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
# a machine that runs tests is disturbed, and one test suite is not a measurement
pytestmark = pytest.mark.timeout(1800)  # real processes, three times; the bound is for what never ends
QUICK = [
    "-p",
    "no:cacheprovider",
    "-p",
    "no:hypothesispytest",
    "--edgetl-allow-disturbed",
    "--edgetl-rounds=3",
    "--edgetl-seconds=0",
]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, flags=re.DOTALL)


def test_the_code_in_the_readme_is_that_of_the_example() -> None:
    source = (EXAMPLE / "test_latency.py").read_text(encoding="utf-8")
    assert len(blocks("python")) == 1
    assert all(block in source for block in blocks("python"))


@pytest.fixture(scope="module")
def project(tiny_bundle: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "project"
    shutil.copytree(EXAMPLE, folder)
    # decided by the backend that needs nothing but takes a millisecond: noise must not decide here
    shutil.copy(tiny_bundle(chosen="null-f32"), folder / "part.edgetl")
    return folder


def test_the_commands_in_the_readme_do_what_it_says(project: Path) -> None:
    commands = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 3
    first = run(project, commands[0]).stdout
    assert "1 skipped" in first, first
    assert {p.name for p in (project / "baseline").iterdir()} == {"part.bench.json.gz", "part.edgetl"}
    assert "not run: test_latency.py::test_within_the_takt_time_of_the_station: needs the board Orin" in first
    believe(project / "baseline" / "part.bench.json.gz")
    second = run(project, commands[1]).stdout
    assert re.search(r"[A-Z]{4,}: the new part.edgetl against the old part.edgetl, 3 rounds", second), second
    assert 'name="edgetl.part.edgetl.p50_ms"' in (project / "junit.xml").read_text(encoding="utf-8")
    believe(project / "baseline" / "part.bench.json.gz", share=0.001)  # whatever this machine's mood is by now
    third = run(project, commands[2])
    assert third.returncode == 1
    assert "REGRESSED: the new part.edgetl against the old part.edgetl" in third.stdout, third.stdout


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_the_jobs_of_a_ci_parse_and_their_commands_exist(name: str, pytestconfig: pytest.Config) -> None:
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((EXAMPLE / name).read_text(encoding="utf-8"))
    if name.startswith("github"):
        commands = [step["run"] for step in job["jobs"]["latency"]["steps"] if "run" in step]
    else:
        commands = job["latency"]["script"]
    assert [command.split()[0] for command in commands] == ["pip", "edgetl-runtime", "pytest"]
    for command in commands:
        words = shlex.split(command)
        if words[0] == "pip":
            extras = tomllib.loads((RUNTIME / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert re.findall(r"edgetl-runtime\[(\w+)\]", command)[0] in extras
        elif words[0] == "pytest":
            for word in words:  # an unknown one is a ValueError
                if word.startswith("--edgetl"):
                    pytestconfig.getoption(word)
        else:
            assert words[1] in COMMANDS


def believe(path: Path, *, share: float = 1.0) -> None:
    """Call the stored rounds undisturbed, as on a quiet machine; else the old bundle would run again, 20 times."""
    stored = read_record(path)
    rounds = tuple(dataclasses.replace(r, decision_ms=tuple(share * ms for ms in r.decision_ms)) for r in stored.rounds)
    write_record(path, dataclasses.replace(stored, verdict="measured", rounds=rounds))


def run(project: Path, command: str) -> subprocess.CompletedProcess[str]:
    words = command.split()
    variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    arguments = words[words.index("pytest") + 1 :]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, *QUICK],
        cwd=project,
        env={**os.environ, **variables, "XDG_STATE_HOME": str(project / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
