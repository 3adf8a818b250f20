"""Signing on the host: what is signed is what is in the bundle, and foreign signatures are attached only to it."""

from __future__ import annotations

import pytest

from edgetl.deploy import signing
from edgetl_runtime import signature
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import SignatureError
from edgetl_runtime.signature import TrustedKey


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return [signing.new_key(folder / f"{name}.key") for name in ("one", "two")]


def test_sign_bundle_replaces_signatures_and_leaves_every_member(tiny_bundle, keys):
    path = tiny_bundle()
    with open_bundle(path) as bundle:
        before = bundle.digests
    for signers in ((keys[0],), tuple(keys)):
        signing.sign_bundle(path, signers)
        for key in signers:
            with open_bundle(path, trust=[TrustedKey(pem=key.pem)]) as bundle:
                bundle.verify()
                assert bundle.digests == before
                assert len(bundle.signatures) == len(signers)


def test_attach_refuses_a_signature_about_another_bundle(tiny_bundle, keys):
    path, other = tiny_bundle(), tiny_bundle(sequence=2)
    signing.sign_bundle(other, (keys[0],))
    with open_bundle(other) as bundle:
        envelope = bundle.signatures[0]
    whole = path.read_bytes()
    with pytest.raises(SignatureError, match="about the members"):
        signing.attach(path, [envelope])
    assert path.read_bytes() == whole


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
