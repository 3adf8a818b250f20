"""Keys are added, rotated by one that is trusted, and never trusted again once revoked."""

from __future__ import annotations

import json

import pytest
from crash_model import QuickDisk

from edgetl.deploy import signing
from edgetl_runtime.errors import InstallError, OutdatedError, SignatureError, UsageError
from edgetl_runtime.install.trust import Trust, TrustStore, parse
from edgetl_runtime.signature import TrustedKey


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return [signing.new_key(folder / f"{name}.key") for name in ("one", "two", "three")]


@pytest.fixture
def store(tmp_path, keys):
    made = TrustStore(tmp_path / "trust.json", QuickDisk())
    made.add(TrustedKey(pem=keys[0].pem, lines=("screws",)))
    return made


def ids(store):
    return {key.id: (key.lines, key.revoked) for key in store.keys()}  # noqa: SIM118


def test_a_rotation_by_a_trusted_key_brings_its_lines(store, keys):
    assert store.rotate(signing.rotation(keys[0], keys[1].pem)).origin == keys[0].id
    assert ids(store) == {keys[0].id: (("screws",), False), keys[1].id: (("screws",), False)}
    store.rotate(signing.rotation(keys[1], keys[2].pem, revoke_old=True))
    assert ids(store)[keys[1].id] == (("screws",), True)
    with pytest.raises(SignatureError, match="not revoked"):
        store.rotate(signing.rotation(keys[1], keys[0].pem))
    with pytest.raises(InstallError, match="not revoked"):
        store.rotate(signing.rotation(keys[2], keys[1].pem))


def test_a_rotation_by_a_stranger_or_of_another_kind_is_refused(store, keys):
    with pytest.raises(SignatureError, match="trusted by this machine"):
        store.rotate(signing.rotation(keys[1], keys[2].pem))
    odd = signing.sign_statement(keys[0], signing.signature.statement("https://x", "key", "0" * 64, {}))
    with pytest.raises(SignatureError, match="about https://edgetl"):
        store.rotate(odd)
    wrong = signing.signature.statement(
        signing.signature.ROTATION_PREDICATE, "key", "0" * 64, {"pem": keys[1].pem, "revoke_old": False}
    )
    with pytest.raises(InstallError, match="about the key it contains"):
        store.rotate(signing.sign_statement(keys[0], wrong))
    assert set(ids(store)) == {keys[0].id}


def test_revoked_keys_stay_revoked(store, keys):
    with pytest.raises(UsageError, match="8 digits"):
        store.revoke(keys[0].id[:4])
    store.revoke(keys[0].id[:8])
    with pytest.raises(UsageError, match="not revoked"):
        store.add(TrustedKey(pem=keys[0].pem))


def test_a_damaged_or_foreign_file_is_refused(store):
    with pytest.raises(SignatureError, match="PEM"):
        parse(b'{"keys": [{"pem": "x"}]}', where="x")
    with pytest.raises(OutdatedError, match="at most 2"):
        parse(b'{"schema_version": 3, "novelty": 1}', where="x")
    newer = '{"schema_version": 3}'
    store.path.write_text(newer)
    with pytest.raises(OutdatedError, match="at most 2"):
        store.set(Trust())
    assert store.path.read_text() == newer
    store.path.write_text(json.dumps({"keys": 1}))
    with pytest.raises(InstallError, match="a list"):
        store.keys()
    store.path.write_text("{")
    with pytest.raises(InstallError, match="JSON in UTF-8"):
        store.keys()
