"""Our own processes import what this one imports, get what they need, and never wait for a reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime import children
from edgetl_runtime.__main__ import main
from edgetl_runtime.bench import conditions
from edgetl_runtime.bench.processes import Worker
from edgetl_runtime.errors import BackendError
from edgetl_runtime.nvidia import process
from edgetl_runtime.nvidia.request import BuildOptions

if TYPE_CHECKING:
    from collections.abc import Callable

SAY = "import json, os, sys\nprint(json.dumps([sys.argv, sys.path, os.getcwd(), dict(os.environ)]))\n"


def said(command: list[str], **options: Any) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, **options)
    return json.loads(done.stdout.splitlines()[-1])


def install(bundle: Path, folder: Path) -> None:
    words = ["--root", str(folder / "root"), "--allow-unsigned", "--variant", "null-f32", "--json"]
    assert main(["install", str(bundle), *words]) == 0


def decide(bundle: Path, _folder: Path) -> None:
    with Worker({"kind": "neighbour", "bundle": str(bundle), "variant": "null-f32"}, timeout_s=60) as worker:
        worker.wait_until("ready")


def build(_bundle: Path, folder: Path) -> None:
    with pytest.raises(BackendError):
        process.build(b"", BuildOptions(flavour="tensorrt"), folder=folder)


@pytest.mark.parametrize("start", [install, decide, build])
def test_nothing_is_imported_from_the_folder_that_a_command_is_called_in(
    start: Callable[[Path, Path], None], planted_modules: Path, tiny_path: Path, tmp_path: Path
) -> None:
    start(tiny_path, tmp_path)
    assert not planted_modules.exists()


@pytest.mark.parametrize("start", [install, decide, build])
def test_a_child_that_says_a_megabyte_is_not_held_up(
    start: Callable[[Path, Path], None], tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talkative = tmp_path / "python"
    talkative.write_text(f'#!/bin/sh\nyes "a warning" | head -c 1000000 >&2\nexec "{sys.executable}" "$@"\n')
    talkative.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(talkative))
    start(tiny_path, tmp_path)


def test_paths_may_be_relative_to_the_callers_folder(
    tiny_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle()
    monkeypatch.chdir(bundle.parent)
    install(Path(bundle.name), Path())
    decide(Path(bundle.name), Path())


def test_a_child_imports_what_its_parent_imports_in_that_order(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for folder in ("one", "two"):
        (tmp_path / folder / "only_here.py").write_text(f"print('\"{folder}\"')\n")
    code = "import subprocess; from edgetl_runtime import children; subprocess.run(children.command('only_here'))"
    paths = [str(tmp_path / "two"), str(tmp_path / "one"), *filter(None, sys.path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    assert said([sys.executable, "-c", code], env=environment) == "two"
    # the same folder as the working directory is another matter
    assert said([sys.executable, "-c", code], env=environment, cwd=tmp_path / "two") == "one"


def test_a_child_gets_its_words_and_the_variables_that_backends_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "SECRET_TOKEN", "NOTIFY_SOCKET"):
        monkeypatch.setenv(name, "")
    for name in conditions.TELLING_VARIABLES:
        monkeypatch.setenv(f"{name}X", "kept")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"lib::/opt/lib:{os.curdir}")
    words = ["a b", "-c", "--json", "ü"]
    found = said(children.program(SAY, *words), env=children.environment(), cwd=children.FOLDER)
    argv, path, folder, variables = found
    assert (argv[1:], folder) == (words, "/")
    assert all(os.path.isabs(entry) for entry in path)  # noqa: PTH117  (as the child said it)
    assert {name for name, value in variables.items() if value == "kept"} == {
        f"{name}X" for name in conditions.TELLING_VARIABLES
    }
    assert variables["LD_LIBRARY_PATH"] == "/opt/lib"
    assert not {"PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "SECRET_TOKEN", "NOTIFY_SOCKET"} & set(variables)


def test_what_a_child_says_is_read_while_it_runs_and_its_end_is_kept() -> None:
    text = "import sys\nsys.stderr.write('x' * 2**20 + 'last words')\n"
    with subprocess.Popen(children.program(text), stderr=subprocess.PIPE) as child:
        tail = children.Tail(child.stderr, keep_bytes=100)
        assert child.wait(timeout=60) == 0
        assert tail.text().endswith("xx" + "last words")
        assert len(tail.text()) == 100


def test_a_grandchild_that_keeps_the_pipe_open_is_not_waited_for() -> None:
    text = "import subprocess\nsubprocess.Popen(['sleep', '3600'])\nprint('said', flush=True)\n"
    with subprocess.Popen(children.program(text), stdout=subprocess.PIPE, start_new_session=True) as child:
        tail = children.Tail(child.stdout)
        child.wait(timeout=60)
        deadline = time.monotonic() + 60
        while not tail.text(wait_s=0.05) and time.monotonic() < deadline:
            pass
        assert tail.text(wait_s=0.05) == "said\n"
        os.killpg(child.pid, 9)


def test_standard_output_is_kept_for_a_childs_own_lines() -> None:
    text = (
        "import os, sys\nfrom edgetl_runtime import children\nown = children.own_stdout()\n"
        "os.write(1, b'chatter\\n')\nown.write('answer\\n')\n"
    )
    done = subprocess.run(children.program(text), capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("answer\n", "chatter\n")
