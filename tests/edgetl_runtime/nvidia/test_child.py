"""The building process by itself: its lines, and what it says when it cannot build."""

import dataclasses
import json
import subprocess
import sys

import pytest

from edgetl_runtime.nvidia.request import BuildOptions


def run(folder, **options):
    (folder / "request.json").write_text(json.dumps(dataclasses.asdict(BuildOptions(**options))))
    command = [sys.executable, "-m", "edgetl_runtime.nvidia.child", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_a_missing_compiler_is_an_answer_not_a_crash(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"model")
    code, lines = run(tmp_path)
    assert code == 0
    assert lines[-1]["error"]["type"] == "BackendMissingError"
    assert "the package tensorrt is not installed" in lines[-1]["error"]["got"]
    assert "nvidia-jetpack" in lines[-1]["error"]["try"]


@pytest.mark.parametrize("flavour", ["tensorrt_rtx"])
def test_a_model_that_is_not_there_is_the_systems_error(tmp_path, flavour):
    code, lines = run(tmp_path, flavour=flavour)
    assert code == 0
    assert "os_error" in lines[-1] or lines[-1]["error"]["type"] == "BackendMissingError"
