"""Signing on the host: a key that is written is the key that is read, and permits differ."""

from __future__ import annotations

import pytest

from edgetl.deploy import signing
from edgetl_runtime import signature
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.signature import TrustedKey


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return [signing.new_key(folder / f"{name}.key") for name in ("one", "two")]


def test_load_key_reads_what_new_key_wrote(tmp_path):
    made = signing.new_key(tmp_path / "a.key")
    assert signing.load_key(tmp_path / "a.key").id == made.id
    assert signature.key_id((tmp_path / "a.pub").read_text()) == made.id


def test_permits_differ_from_each_other(tiny_bundle, keys):
    with open_bundle(tiny_bundle()) as bundle:
        permits = [signing.rollback_permit(keys[0], bundle, floor=5) for _ in range(2)]
    trust = [TrustedKey(pem=keys[0].pem)]
    found = [signature.verify_envelope(p, trust, signature.PERMIT_PREDICATE)[1]["predicate"] for p in permits]
    assert found[0]["id"] != found[1]["id"]
    assert found[0]["floor"] == 5
