"""`trust` lists, sets, rotates and revokes; the private key never comes near a device."""

from __future__ import annotations

import json

from edgetl.deploy import signing
from edgetl_runtime.__main__ import main


def test_trust_sets_rotates_and_revokes(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EDGETL_ROOT", str(tmp_path / "root"))
    one, two = (signing.new_key(tmp_path / f"{name}.key") for name in ("one", "two"))
    assert run("trust", "list")[1]["keys"] == []
    (tmp_path / "trust.json").write_text(json.dumps({"keys": [{"pem": one.pem, "lines": ["screws"]}]}))
    assert run("trust", "set", str(tmp_path / "trust.json"))[1]["keys"][0]["lines"] == ["screws"]
    (tmp_path / "rotation.json").write_text(json.dumps(signing.rotation(one, two.pem)))
    code, found = run("trust", "rotate", str(tmp_path / "rotation.json"))
    assert (code, [key["id"] for key in found["keys"]]) == (0, [one.id, two.id])
    found = run("trust", "revoke", one.id[:16])[1]
    assert [key["revoked"] for key in found["keys"]] == [True, False]
    assert run("trust", "add", str(tmp_path / "one.key"))[1]["error"]["type"] == "SignatureError"
    assert run("trust", "add", str(tmp_path / "none.pub"))[0] == 2
    assert main(["trust", "list"]) == 0
    assert f"{one.id}  REVOKED  screws" in capsys.readouterr().out
