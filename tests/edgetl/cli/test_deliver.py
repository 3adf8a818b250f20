"""Options of a delivery are checked before minutes of work; signing alone is a delivery too."""

from __future__ import annotations

import dataclasses
import json
import platform

import pytest

from edgetl import __version__
from edgetl.api.delivery import package_arch
from edgetl.api.text import delivery_lines
from edgetl.cli import COMMANDS
from edgetl.deploy import offline
from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime.cli import driver
from edgetl_runtime.errors import UsageError


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = driver.run("edgetl", COMMANDS, [*words, "--json"], version=__version__)
        return code, json.loads(capsys.readouterr().out)

    return run


def test_deliver_signs_and_says_with_which_key(call, tiny_bundle):
    made = call("keys", "new", "line.key")[1]
    code, found = call("deliver", str(tiny_bundle()), "--key", "line.key")
    assert (code, found["signed_by"], found["delivery"]) == (0, [made["key_id"]], None)
    assert delivery_lines(found) == [f"signed by {made['key_id'][:16]}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "given --host, --offline-package or --key"),
        (("--stage-only",), "--stage-only must be with --host"),
        (
            ("--offline-package", "stick", "--arch", "x86_64", "--trust", "none.pub"),
            "cannot read --trust none.pub",
        ),
        (("--trust", "line.pub"), "--trust must be with --offline-package"),
        (("--offline-package", ".", "--arch", "x86_64"), "a new folder"),
        (("--key", "none.key"), "a private key file"),
        (("--host", "station"), "must be signed; got unsigned"),
    ],
)
def test_deliver_refuses_early(words, message, call, tiny_bundle):
    code, found = call("deliver", str(tiny_bundle()), *words)
    assert code == 2
    assert message in found["error"]["message"]


@pytest.mark.parametrize(
    ("given", "target", "found"),
    [
        (None, ["x86_64"], "x86_64"),
        (None, ["aarch64"], "aarch64"),
        (None, ["any"], platform.machine()),
        ("aarch64", ["any"], "aarch64"),
        ("aarch64", [], "aarch64"),
    ],
)
def test_the_machine_type_of_a_package_is_the_targets(given, target, found):
    assert package_arch(given, target) == found


@pytest.mark.parametrize(
    ("given", "target", "fix"),
    [
        ("aarch64", ["x86_64"], "--arch x86_64, or deploy"),
        (None, [], "--arch x86_64 or --arch aarch64"),
        (None, ["x86_64", "aarch64"], "--arch x86_64 or --arch aarch64"),
    ],
)
def test_a_machine_type_that_is_not_the_targets_or_unknown_is_refused(given, target, fix):
    with pytest.raises(UsageError) as error:
        package_arch(given, target)
    assert fix in error.value.fix


def test_an_x86_bundle_needs_no_arch(call, tiny_parts, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(offline, "write_package", lambda *_, **options: seen.update(options))
    fields, members = tiny_parts()
    fields = dataclasses.replace(fields, target={**fields.target, "arch": ["x86_64"]})
    write_bundle(tmp_path / "a.edgetl", fields, members)
    assert call("deliver", "a.edgetl", "--offline-package", "stick", "--allow-unsigned")[0] == 0
    assert seen["arch"] == "x86_64"


def test_delivery_lines_say_what_was_measured_there():
    delivery = {
        "host": "a", "result": "COMMITTED", "reason": "200 decisions",
        "proof": {"latency_ms": {"p50": 1.234, "p99": None}, "memory_mb": 80.0},
    }  # fmt: skip
    lines = delivery_lines({"signed_by": [], "package": None, "delivery": delivery})
    assert lines == ["a: COMMITTED, 200 decisions", "measured there: p50 1.23 ms, 80 MB"]
