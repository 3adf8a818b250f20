"""`trust` lists, sets, rotates and revokes; the private key never comes near a device."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgetl.cli import COMMANDS
from edgetl.deploy import signing
from edgetl_runtime import signature
from edgetl_runtime.__main__ import main
from edgetl_runtime.cli import driver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, dict[str, Any]]]
    Entries = dict[str, tuple[list[str], bool]]


@pytest.fixture
def station(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`edgetl-runtime trust …` on a device, in a folder with the keys a, b and c."""
    monkeypatch.setenv("EDGETL_ROOT", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        signing.new_key(tmp_path / f"{name}.key")
    return lambda *words: run("trust", *words)


def known(station: Run) -> Entries:
    """Return the keys that the device knows: name → (lines, revoked)."""
    names = {signing.load_key(path).id: path.stem for path in _here().glob("*.key")}
    return {names[key["id"]]: (key["lines"], key["revoked"]) for key in station("list")[1]["keys"]}


def _here() -> Path:
    from pathlib import Path

    return Path.cwd()


def rotation(old: str, new: str, *options: str) -> str:
    """Write a rotation as `edgetl keys rotate` does; return its file."""
    out = f"{old}-{new}{len(list(_here().glob('*.json')))}.json"
    words = ["rotate", "--old", f"{old}.key", "--new", f"{new}.pub", "--out", out, *options]
    assert driver.run("edgetl", COMMANDS, ["keys", *words], version="0") == 0
    return out


def trust_file(name: str, *keys: tuple[str, list[str]]) -> str:
    entries = [{"pem": pem, "lines": lines} for pem, lines in keys]
    (_here() / name).write_text(json.dumps({"schema_version": 1, "keys": entries}))
    return name


def refused(answer: tuple[int, dict[str, Any]], words: str) -> None:
    code, found = answer
    assert code in (1, 2)
    assert words in found["error"]["message"]


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


def test_a_rotation_never_changes_a_key_that_is_known(station: Run, capsys: pytest.CaptureFixture[str]) -> None:
    station("add", "a.pub", "--line", "screws")
    station("add", "b.pub", "--line", "nuts")
    files = [rotation("a", "b"), rotation("a", "b", "--revoke-old"), rotation("a", "a")]
    capsys.readouterr()
    for file in files:
        refused(station("rotate", file), "the new key must be one that this device does not know")
        assert known(station) == {"a": (["screws"], False), "b": (["nuts"], False)}


def test_a_rotation_is_good_once(station: Run, capsys: pytest.CaptureFixture[str]) -> None:
    station("add", "a.pub", "--line", "screws", "--line", "nuts")
    file = rotation("a", "b")
    capsys.readouterr()
    assert station("rotate", file)[0] == 0
    assert known(station)["b"] == (["screws", "nuts"], False)
    station("add", "b.pub", "--line", "screws")
    refused(station("rotate", file), "the rotation must be one that was not used before")
    assert known(station)["b"] == (["screws"], False)
    # nor does it bring back a key that was taken out since
    pem = (_here() / "a.pub").read_text()
    assert station("set", trust_file("only-a.json", (pem, ["screws", "nuts"])))[0] == 0
    refused(station("rotate", file), "the rotation must be one that was not used before")
    assert set(known(station)) == {"a"}
    # another one, made on purpose, does
    file = rotation("a", "b", "--revoke-old")
    capsys.readouterr()
    assert station("rotate", file)[0] == 0
    assert known(station) == {"a": (["screws", "nuts"], True), "b": (["screws", "nuts"], False)}


@pytest.mark.parametrize(
    "written", [lambda pem: pem + "\n", lambda pem: "a comment\n" + pem, lambda pem: pem.replace("\n", "\r\n")]
)
def test_a_revoked_key_never_returns_however_its_file_is_written(
    written: Callable[[str], str], station: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    station("add", "a.pub")
    station("add", "b.pub")
    old, gone = signing.load_key(_here() / "a.key"), signing.load_key(_here() / "b.key")
    station("revoke", gone.id[:12])
    odd = written(gone.pem)
    (_here() / "odd.pub").write_text(odd, newline="")
    refused(station("add", "odd.pub"), "not revoked")
    refused(station("set", trust_file("odd.json", (old.pem, []), (odd, []))), "not revoked")
    for digest in (gone.id, signature.key_id(odd)):
        predicate = {"pem": odd, "revoke_old": False}
        made = signing.sign_statement(old, signature.statement(signature.ROTATION_PREDICATE, "key", digest, predicate))
        (_here() / "odd.json").write_text(json.dumps(made))
        assert station("rotate", "odd.json")[0] == 1
    assert known(station) == {"a": ([], False), "b": ([], True)}
    capsys.readouterr()


def test_a_trust_file_takes_no_revocation_back(station: Run, tmp_path: Path) -> None:
    station("add", "a.pub")
    station("revoke", signing.load_key(tmp_path / "a.key").id[:12])
    pems = {name: (tmp_path / f"{name}.pub").read_text() for name in "abc"}
    assert station("set", trust_file("without.json", (pems["b"], ["screws"])))[0] == 0
    assert known(station) == {"b": (["screws"], False), "a": ([], True)}
    refused(station("set", trust_file("with.json", (pems["a"], []), (pems["c"], []))), "not revoked")
    assert set(known(station)) == {"a", "b"}
    # a damaged file is what `set` mends
    (tmp_path / "root" / "trust.json").write_text("{")
    refused(station("list"), "must be JSON")
    assert station("set", "with.json")[0] == 0
    assert known(station) == {"a": ([], False), "c": ([], False)}


def test_one_key_in_two_writings_is_one_key(station: Run, tmp_path: Path) -> None:
    pem = (tmp_path / "a.pub").read_text()
    twins = trust_file("twins.json", (pem, ["screws"]), (pem + "\n", ["nuts"]))
    refused(station("set", twins), "must be different; got")
    assert station("list")[1]["keys"] == []
    # a device that took twins in before: the first says the lines, and a revocation of either counts
    (tmp_path / "root" / "trust.json").write_text((tmp_path / twins).read_text())
    assert known(station) == {"a": (["screws"], False)}
    mapping = json.loads((tmp_path / twins).read_text())
    mapping["keys"][1]["revoked"] = True
    (tmp_path / "root" / "trust.json").write_text(json.dumps(mapping))
    assert known(station) == {"a": (["screws"], True)}
