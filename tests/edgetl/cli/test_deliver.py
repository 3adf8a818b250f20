"""Options of a delivery are checked before minutes of work; signing alone is a delivery too."""

from __future__ import annotations

import json

import pytest

from edgetl import __version__
from edgetl.cli import COMMANDS
from edgetl.cli.deliver import delivery_lines
from edgetl_runtime.cli import driver


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
        (("--offline-package", "stick"), "with --arch"),
        (("--offline-package", ".", "--arch", "x86_64"), "a new folder"),
        (("--key", "none.key"), "a private key file"),
        (("--host", "station"), "must be signed; got unsigned"),
    ],
)
def test_deliver_refuses_early(words, message, call, tiny_bundle):
    code, found = call("deliver", str(tiny_bundle()), *words)
    assert code == 2
    assert message in found["error"]["message"]


def test_delivery_lines_say_what_was_measured_there():
    delivery = {
        "host": "a", "result": "COMMITTED", "reason": "200 decisions",
        "proof": {"latency_ms": {"p50": 1.234, "p99": None}, "memory_mb": 80.0},
    }  # fmt: skip
    lines = delivery_lines({"signed_by": [], "package": None, "delivery": delivery})
    assert lines == ["a: COMMITTED, 200 decisions", "measured there: p50 1.23 ms, 80 MB"]
