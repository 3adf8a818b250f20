"""The host's doctor: profiles, and a device over a real sshd that has nothing of edgetl installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edgetl import __version__
from edgetl.cli import COMMANDS
from edgetl_runtime.cli import driver

TREES = Path(__file__).parents[2] / "edgetl_runtime" / "doctor" / "trees"


@pytest.fixture
def run(capsys):
    def call(*arguments: str):
        code = driver.run("edgetl", COMMANDS, ["doctor", *arguments, "--json"], version=__version__)
        return code, json.loads(capsys.readouterr().out)

    return call


def test_the_boards_own_profile_says_what_the_contract_assumes(run):
    code, result = run("--recorded", str(TREES / "orin-nano-jp6.txt"))
    assert (code, result["target"]) == (4, "jetson-orin-nano-super")
    assert result["findings"][0]["found"] == "power mode 15W is lower than 25W, which the contract assumes"


def test_the_option_overrides_the_profile(run):
    code, _ = run("--recorded", str(TREES / "orin-nano-jp6.txt"), "--power-mode", "15W")
    assert code == 0


def test_another_board_than_the_target_is_refused(run):
    code, result = run("--recorded", str(TREES / "thor-jp7.txt"), "--target", "jetson-orin-nx")
    assert code == 4
    assert result["findings"][0]["found"] == "this board's profile is jetson-thor, not jetson-orin-nx-16gb"
    assert result["findings"][0]["command"] == "edgetl deploy RUN --target jetson-thor"


@pytest.mark.parametrize("target", ["jetson-nano", "jetson-agx-xavier"])
def test_a_refused_target_says_why(run, target):
    code, result = run("--recorded", str(TREES / "thor-jp7.txt"), "--target", target)
    assert code == 2
    assert "which NVIDIA no longer supports" in result["error"]["message"]


def test_a_device_is_examined_over_ssh_without_anything_installed_there(run, server, tmp_path):
    config = server.settings().config
    options = ("--host", str(server.address), "--ssh-config", str(config), "--python", sys.executable)
    code, result = run(*options, "--record", str(tmp_path / "device.txt"))
    assert code == result["exit"]
    assert result["host"] == str(server.address)
    assert result["facts"]["python"]["version"] == list(sys.version_info[:3])
    assert {"board", "cpu", "disk", "memory", "python"} <= {finding["topic"] for finding in result["findings"]}
    _, again = run("--recorded", str(tmp_path / "device.txt"))
    assert again["facts"] == result["facts"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"known": "changed_hosts"}, "must be the one known here; got another"),
        ({"key": "stranger"}, "must be allowed without typing a password"),
    ],
)
def test_a_changed_host_key_and_a_refused_login_are_one_sentence(run, server, settings, message):
    config = server.settings(**settings).config
    code, result = run("--host", str(server.address), "--ssh-config", str(config))
    assert code == 1
    assert message in result["error"]["message"]


def test_an_unreachable_host_is_one_sentence(run, server):
    code, result = run("--host", "127.0.0.1:1", "--ssh-config", str(server.settings().config))
    assert (code, result["error"]["type"]) == (1, "HostUnreachableError")
    assert result["error"]["message"] == "the device 127.0.0.1:1 must be reachable; got Connection refused."


def test_a_host_and_a_recording_exclude_each_other(run):
    code, result = run("--host", "x", "--recorded", "y")
    assert (code, result["error"]["type"]) == (2, "UsageError")
