"""The device's commands from the first bundle to the rollback, as an operator types them."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import pytest

from edgetl.deploy import signing
from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime.__main__ import main
from edgetl_runtime.contract import Contract
from edgetl_runtime.install import selftest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def station(
    tiny_parts: Any, tmp_path: Path, run: Callable[..., tuple[int, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, dict[str, Any]]]:
    """A device that trusts a key, and bundles 1.edgetl and 2.edgetl signed by it, in the working folder."""
    key = signing.new_key(tmp_path / "line.key")
    fields, members = tiny_parts()
    for sequence in (1, 2):
        chosen = dataclasses.replace(fields, sequence=sequence, chosen="null-f32")
        write_bundle(tmp_path / f"{sequence}.edgetl", chosen, members, keys=(key,))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGETL_ROOT", str(tmp_path / "root"))
    assert run("trust", "add", "line.pub")[0] == 0
    return run


def test_from_install_to_rollback(station, capsys):
    code, found = station("install", "1.edgetl")
    assert (code, found["result"], found["phase"]) == (0, "TRIAL", "TRIAL")
    assert found["proof"]["golden"]["count"] == 16
    code, found = station("trial", "--seconds", "0", "--inferences", "5")
    assert (code, found["result"], found["floor"]) == (0, "COMMITTED", 1)
    assert station("install", "2.edgetl")[0] == 0
    assert station("status")[1]["trial"]["generation"]["sequence"] == 2
    assert station("commit", "--reason", "fine")[1]["floor"] == 2
    assert station("verify", "--installed")[1]["exit"] == 0
    code, found = station("install", "1.edgetl")
    assert (code, found["error"]["type"]) == (1, "InstallError")
    assert station("rollback")[1]["committed"]["sequence"] == 1
    entries = station("log", "--last", "3")[1]["entries"]
    assert [entry["result"] for entry in entries] == ["COMMITTED", "REFUSED", "ROLLED_BACK"]
    assert station("gc")[1]["removed"] == []
    assert station("trial")[1]["error"]["message"].startswith("a trial must be of an installed generation")
    for command in (["status"], ["log"], ["trust", "list"], ["gc", "--previous"], ["verify", "--installed"]):
        assert main(command) == 0
    text = capsys.readouterr().out
    assert "ROLLED_BACK: committed 000001-" in text
    assert "every byte as signed" in text


def test_a_bound_that_cannot_be_proved_here_is_exit_4_unless_that_is_allowed(
    station, tiny_parts, tmp_path, monkeypatch
):
    fields, members = tiny_parts()
    bounded = dataclasses.replace(fields, sequence=1, chosen="null-f32", contract=Contract(p99_ms=1e6))
    write_bundle(tmp_path / "bounded.edgetl", bounded, members)
    monkeypatch.setattr(selftest, "MAX_LATENCY_S", 0.0)  # for one decision, which is far too few
    monkeypatch.setattr(selftest, "run", selftest.prove)
    code, found = station("install", "bounded.edgetl", "--allow-unsigned")
    assert (code, found["error"]["type"]) == (4, "UnfitError")
    assert "p99 of at most 1000000 ms (0 of 1 decisions took longer" in found["error"]["message"]
    assert station("status")[1]["trial"] is None
    code, found = station("install", "bounded.edgetl", "--allow-unsigned", "--allow-unproven")
    assert (code, found["trial"]["allow_unproven"]) == (0, True)
    words = (
        "p99 of at most 1000000 ms (0 of 1 decisions took longer; more are needed to tell), as --allow-unproven said"
    )
    assert station("log")[1]["entries"][-1]["reason"].endswith(words)
    code, found = station("trial", "--seconds", "0", "--inferences", "5")
    assert (code, found["result"]) == (0, "COMMITTED")
    assert found["reason"].endswith("more are needed to tell), as was allowed")


def test_damage_is_told_by_verify_installed_and_status(station, tmp_path):
    station("install", "1.edgetl")
    station("commit")
    (tmp_path / "root" / "current" / "bundle.edgetl").write_bytes(b"rot")
    code, found = station("verify", "--installed")
    assert code == 1
    assert "a ZIP" in found["generations"][0]["fault"] or "bytes" in found["generations"][0]["fault"]
    assert station("gc")[1]["phase"] == "INCONSISTENT"
    code, found = station("status")
    assert (code, found["phase"]) == (1, "INCONSISTENT")


def test_verify_needs_a_bundle_or_installed(run):
    assert run("verify")[1]["error"]["message"].startswith("verify must be given a bundle or --installed; got neither")


def test_a_permit_that_is_no_json_is_refused(station, tmp_path):
    (tmp_path / "permit.json").write_text("{")
    code, found = station("install", "1.edgetl", "--permit", "permit.json")
    assert (code, found["error"]["type"]) == (2, "UsageError")


@pytest.mark.parametrize("command", [("install", "1.edgetl"), ("trust", "add", "line.pub")])
def test_without_cryptography_the_error_names_the_extra(command, station, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    code, found = station(*command)
    assert (code, found["error"]["try"]) == (1, 'pip install "edgetl-runtime[install]"')
