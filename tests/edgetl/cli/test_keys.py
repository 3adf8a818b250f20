"""Keys from the command line: made, used, rotated; a private key is never overwritten or left open to others."""

from __future__ import annotations

import json
import stat

import pytest

from edgetl import __version__
from edgetl.cli import COMMANDS
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.cli import driver
from edgetl_runtime.signature import TrustedKey


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = driver.run("edgetl", COMMANDS, ["keys", *words, "--json"], version=__version__)
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_new_key_signs_and_is_never_overwritten(call, tiny_bundle, tmp_path):
    code, made = call("new", "line.key")
    assert code == 0
    assert stat.S_IMODE((tmp_path / "line.key").stat().st_mode) == 0o600
    assert call("new", "line.key")[1]["error"]["message"].startswith("key file line.key must be a new file")
    bundle = tiny_bundle()
    assert call("sign", str(bundle), "--key", "line.key")[1]["key_ids"] == [made["key_id"]]
    with open_bundle(bundle, trust=[TrustedKey(pem=(tmp_path / "line.pub").read_text())]) as opened:
        assert opened.signed_by.id == made["key_id"]
    (tmp_path / "line.key").chmod(0o640)
    code, found = call("sign", str(bundle), "--key", "line.key")
    assert (code, found["error"]["try"]) == (2, "chmod 600 line.key")


def test_rotations_permits_and_trust_files_are_written_once(call, tiny_bundle):
    old, new = call("new", "old.key")[1]["key_id"], call("new", "new.key")[1]["key_id"]
    rotate = ("rotate", "--old", "old.key", "--new", "new.pub", "--out", "rotation.json")
    code, found = call(*rotate)
    assert (code, found["old"], found["new"]) == (0, old, new)
    assert call(*rotate)[0] == 2
    bundle = str(tiny_bundle())
    code, found = call("permit", bundle, "--key", "old.key", "--floor", "3", "--out", "permit.json")
    assert (code, found["sequence"], found["floor"]) == (0, 1, 3)
    assert call("permit", bundle, "--key", "old.key", "--floor", "1", "--out", "p.json")[1]["error"]["try"]
    code, found = call("trust", "old.pub", "new.pub", "--line", "tiny", "--out", "trust.json")
    assert (code, found["key_ids"], found["lines"]) == (0, [old, new], ["tiny"])
    assert call("trust", "old.pub", "old.pub", "--out", "twins.json")[0] == 2


def test_wrong_keys_are_said(call, tmp_path, tiny_bundle):
    bundle = str(tiny_bundle())
    (tmp_path / "bad.key").write_text("not a key")
    (tmp_path / "bad.key").chmod(0o600)
    assert call("sign", bundle, "--key", "bad.key")[1]["error"]["message"].startswith("--key bad.key must be a private")
    assert call("sign", bundle, "--key", "none.key")[0] == 2
    assert call("sign", bundle)[0] == 2
    (tmp_path / "other.sig").write_text("{}")
    assert call("sign", bundle, "--signature", "other.sig")[1]["error"]["type"] == "SignatureError"
