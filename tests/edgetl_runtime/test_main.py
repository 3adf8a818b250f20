"""The device's command line as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.__main__ import COMMANDS, main

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, dict[str, Any]]]


def test_commands_of_the_table_exist_and_explain_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert "usage: edgetl-runtime " in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_or_closed_standard_output_is_one_sentence(options: list[str], unbuffered: str, tiny_path: Path) -> None:
    command = [sys.executable, "-m", "edgetl_runtime", "info", str(tiny_path), *options]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr.startswith("OSError: The disk is full")) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_fresh_process_decides_without_host_packages(tiny_path: Path, images: Path) -> None:
    code = (
        "import sys; from edgetl_runtime.__main__ import main; code = main(sys.argv[1:]); "
        "bad = {'torch', 'timm', 'onnx', 'edgetl', 'openvino'} & set(sys.modules); sys.exit(code or len(bad))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", str(tiny_path), str(images), "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["decisions"]) == 4
