"""A folder for a stick; its script refuses what was altered or made for another machine, without a network."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import subprocess
import sys

import pytest

from edgetl.deploy import isolation, offline
from edgetl.deploy.bundle_writer import sign_bundle, write_bundle
from edgetl.deploy.signing import new_key
from edgetl_runtime.errors import EdgetlError, InstallError, UsageError

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def package(tiny_bundle, tmp_path, monkeypatch):
    """A package whose wheels are not downloaded: the whole way is `make test-offline`."""
    bundle = tiny_bundle()
    sign_bundle(bundle, (new_key(tmp_path / "line.key"),))
    monkeypatch.setattr(offline, "_wheels", lambda wheels, *_, **__: (wheels / "pip-1.whl").write_bytes(b"x"))
    offline.write_package(bundle, tmp_path / "stick", python=PYTHON, arch=platform.machine())
    return tmp_path / "stick"


def run(package):
    prefix = package.parent / "prefix"
    done = subprocess.run(["sh", package / "install.sh", prefix], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_pip_is_not_taken_from_the_folder_that_deliver_is_called_in(planted_modules, tmp_path):
    with pytest.raises(InstallError, match="the wheels of the device must be available"):
        offline._pip(["download", "--no-index", "--dest", str(tmp_path), "edgetl-runtime[nothing]==99"])
    assert not planted_modules.exists()


def test_write_package_lists_every_file_and_refuses_what_exists(package, tiny_bundle):
    listed = {line.split("  ")[1] for line in (package / "SHA256SUMS").read_text().splitlines()}
    assert listed == {"bundle.edgetl", "install.sh", "wheels/pip-1.whl"}
    with pytest.raises(UsageError, match="a new folder"):
        offline.write_package(package / "bundle.edgetl", package, python=PYTHON, arch="x86_64")
    with pytest.raises(UsageError, match="must be signed"):
        offline.write_package(tiny_bundle(), package / "other", python=PYTHON, arch="x86_64")
    assert not (package / "other").exists()


def test_the_script_refuses_an_altered_stick(package):
    (package / "bundle.edgetl").write_bytes(b"x")
    code, words = run(package)
    assert code != 0
    assert "bundle.edgetl" in words
    assert not (package.parent / "prefix").exists()


def test_the_script_refuses_another_machine(tiny_bundle, package):
    shutil.rmtree(package)
    offline.write_package(tiny_bundle(), package, python="3.9", arch="aarch64", allow_unsigned=True)
    code, words = run(package)
    assert code != 0
    assert "this package is for Python 3.9 on aarch64; this is Python" in words


def signed_stick(tiny_parts, tmp_path, monkeypatch, trust, key=None):
    key = key or new_key(tmp_path / "line.key")
    fields, members = tiny_parts()
    write_bundle(tmp_path / "b.edgetl", dataclasses.replace(fields, chosen="null-f32"), members, keys=(key,))
    monkeypatch.setattr(offline, "_wheels", lambda wheels, *_, **__: None)
    return offline.write_package(tmp_path / "b.edgetl", tmp_path / "stick", python=PYTHON, arch="x86_64",
                                 trust=tmp_path / trust)  # fmt: skip


def test_a_public_key_is_enough_for_a_device_to_install_from_the_stick(tiny_parts, tmp_path, monkeypatch):
    signed_stick(tiny_parts, tmp_path, monkeypatch, "line.pub")
    stick, root = tmp_path / "stick", str(tmp_path / "root")
    done = isolation.run("trust", "set", str(stick / "trust.json"), "--root", root)
    assert done.returncode == 0, done.stderr
    done = isolation.run("install", str(stick / "bundle.edgetl"), "--root", root, "--json")
    assert (done.returncode, json.loads(done.stdout)["result"]) == (0, "TRIAL"), done.stderr


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("other.pub", None, "must be trusted by this machine"),
        ("line.key", None, "a public key or a trust file; got a private key"),
        ("x.json", "[]", "a public key or a trust file"),
        ("x.pub", "-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----\n", "a public key or a trust file"),
        ("absent.pub", None, "cannot read --trust .*: No such file"),
    ],
)
def test_keys_that_would_make_a_stick_that_cannot_be_installed_are_refused(
    name, text, words, tiny_parts, tmp_path, monkeypatch
):
    new_key(tmp_path / "other.key")
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(EdgetlError, match=words):
        signed_stick(tiny_parts, tmp_path, monkeypatch, name)
    assert not (tmp_path / "stick").exists()


def test_a_key_of_another_line_is_refused(tiny_parts, tmp_path, monkeypatch):
    key = new_key(tmp_path / "line.key")
    trusted = {"schema_version": 1, "keys": [{"pem": key.pem, "lines": ["other"]}]}
    (tmp_path / "trust.json").write_text(json.dumps(trusted))
    with pytest.raises(EdgetlError, match="for product line other"):
        signed_stick(tiny_parts, tmp_path, monkeypatch, "trust.json", key)
