from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edgetl import __version__
from edgetl.cli import COMMANDS
from edgetl_runtime.cli import driver


def main(arguments: list[str]) -> int:
    return driver.run("edgetl", COMMANDS, arguments, version=__version__)


def test_list_json_holds_every_target(capsys):
    assert main(["devices", "list", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == "edgetl.devices.list/1"
    assert "jetson" in [alias for device in result["devices"] for alias in device["aliases"]]


def test_show_prints_one_profile_with_sources(capsys):
    assert main(["devices", "show", "jetson"]) == 0
    out = capsys.readouterr().out
    assert "jetson-orin-nano" in out
    assert "compute_capability   8.7" in out
    assert "not measured on hardware" in out


@pytest.mark.parametrize("arguments", [["show"], ["show", "jetsn"], ["list", "local"]])
def test_devices_exits_2_on_wrong_names(arguments, capsys):
    assert main(["devices", *arguments]) == 2
    assert "Try:" in capsys.readouterr().err


def test_devices_list_loads_no_third_party_module():
    code = (
        "import sys; sys.argv[1:] = ['devices', 'list']; from edgetl.__main__ import main; main();"
        "heavy = {'numpy', 'torch', 'onnx', 'onnxruntime', 'openvino', 'nncf', 'cv2'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
