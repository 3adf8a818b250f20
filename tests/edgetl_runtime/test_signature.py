"""Who signed a bundle, checked before anything of it is parsed; every bit of the envelope counts."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from edgetl.deploy import signing
from edgetl.deploy.bundle_writer import write_bundle, write_signed
from edgetl_runtime import manifest as manifests
from edgetl_runtime import signature
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import BundleError, SignatureError
from edgetl_runtime.signature import TrustedKey

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> signing.SigningKey:
    return signing.new_key(tmp_path_factory.mktemp("keys") / "line.key")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> signing.SigningKey:
    return signing.new_key(tmp_path_factory.mktemp("keys") / "other.key")


@pytest.fixture
def signed(tiny_parts: Any, tmp_path: Path, key: signing.SigningKey) -> Path:
    path = tmp_path / "signed.edgetl"
    fields, members = tiny_parts()
    write_bundle(path, fields, members, keys=(key,))
    return path


def trusted(key: signing.SigningKey, **changes: Any) -> TrustedKey:
    return TrustedKey(pem=key.pem, **changes)


def envelope_of(path: Path) -> dict[str, Any]:
    with open_bundle(path) as bundle:
        return dict(bundle.signatures[0])


def rewrite(path: Path, envelopes: list[Any], target: Path) -> Path:
    """Write the bundle again with other signatures."""
    with open_bundle(path) as bundle:
        members = {n: bundle.member_bytes(n) for n in bundle.names if n != manifests.SIGNATURE_NAME}
    write_signed(target, members, json.dumps({"signatures": envelopes}).encode())
    return target


def test_open_bundle_says_which_trusted_key_signed(signed, key, other):
    with open_bundle(signed, trust=[trusted(other), trusted(key)]) as bundle:
        assert bundle.signed_by.id == key.id
        bundle.verify()


def test_open_bundle_asks_for_no_signature_unless_told(signed):
    with open_bundle(signed) as bundle:
        assert bundle.signed_by is None
        assert len(bundle.signatures) == 1


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (lambda key, other: [], "trusted by this machine"),
        (lambda key, other: [trusted(other)], "trusted by this machine"),
        (lambda key, other: [trusted(key, revoked=True)], "not revoked"),
        (lambda key, other: [trusted(key, lines=("screws",))], "for product line screws; got line 'tiny'"),
    ],
    ids=["nobody", "wrong key", "revoked", "other line"],
)
def test_open_bundle_refuses_keys_that_are_not_trusted_for_it(keys, words, signed, key, other):
    with pytest.raises(SignatureError, match=words):
        open_bundle(signed, trust=keys(key, other))


def test_open_bundle_refuses_an_unsigned_bundle(tiny_path, key):
    with pytest.raises(SignatureError, match="no signature"):
        open_bundle(tiny_path, trust=[trusted(key)])


def test_the_signature_of_another_bundle_is_refused(signed, tiny_parts, key, tmp_path):
    fields, members = tiny_parts()
    write_bundle(tmp_path / "b.edgetl", dataclasses.replace(fields, sequence=2), members)
    stolen = rewrite(tmp_path / "b.edgetl", [envelope_of(signed)], tmp_path / "c.edgetl")
    with pytest.raises(SignatureError, match="of another bundle"):
        open_bundle(stolen, trust=[trusted(key)])


def test_one_good_signature_among_several_is_enough(signed, key, other, tmp_path):
    with open_bundle(signed) as bundle:
        statement = signature.model_statement("tiny", bundle.digests)
    both = [signing.sign_statement(other, statement), envelope_of(signed)]
    path = rewrite(signed, both, tmp_path / "both.edgetl")
    with open_bundle(path, trust=[trusted(key)]) as bundle:
        assert bundle.signed_by.id == key.id
    many = rewrite(signed, [envelope_of(signed)] * 5, tmp_path / "many.edgetl")
    with pytest.raises(SignatureError, match="at most 4"):
        open_bundle(many, trust=[trusted(key)])


def _statement_of(envelope: dict[str, Any]) -> dict[str, Any]:
    return json.loads(base64.b64decode(envelope["dsseEnvelope"]["payload"]))


def _missing(statement: dict[str, Any]) -> None:
    statement["predicate"]["resources"].pop()
    statement["subject"][0]["digest"]["sha256"] = signature.root_digest(statement["predicate"]["resources"])


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda s: s.update(predicateType=signature.PERMIT_PREDICATE), "about https://model_signing"),
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "of type https://in-toto"),
        (lambda s: s["predicate"]["resources"][0].update(algorithm="sha1"), "SHA-256"),
        (lambda s: s["predicate"]["serialization"].update(method="shards"), "whole files"),
        (lambda s: s["predicate"]["serialization"].update(hash_type="blake3"), "SHA-256"),
        (lambda s: s["predicate"]["resources"][0].update(digest="0" * 64), "contradict"),
        (lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]), "contradict"),
        (lambda s: s["subject"].append(s["subject"][0]), "one subject"),
        (_missing, "of exactly the members"),
    ],
)
def test_a_well_signed_statement_about_something_else_is_refused(alter, words, signed, key, tmp_path):
    statement = _statement_of(envelope_of(signed))
    alter(statement)
    path = rewrite(signed, [signing.sign_statement(key, statement)], tmp_path / "odd.edgetl")
    with pytest.raises(SignatureError, match=words):
        open_bundle(path, trust=[trusted(key)])


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda e: e.update(mediaType="application/json"), "of type application/vnd"),
        (lambda e: e["dsseEnvelope"].update(payloadType="application/json"), "payload type"),
        (lambda e: e["dsseEnvelope"]["signatures"].append({"sig": ""}), "one signature"),
        (lambda e: e["dsseEnvelope"]["signatures"][0].update(keyid="x"), "key id of its own"),
        (lambda e: e["dsseEnvelope"]["signatures"][0].update(sig="AAAA"), "signature must be by key"),
        (lambda e: e["dsseEnvelope"]["signatures"][0].update(sig="A"), "canonical base64"),
        (lambda e: e["verificationMaterial"].update(certificate={}), "of the keys"),
        (lambda e: e["verificationMaterial"].update(tlogEntries=[1]), "transparency"),
        (lambda e: e.update(more=1), "of the keys"),
    ],
)
def test_another_envelope_is_refused(alter, words, signed, key, tmp_path):
    envelope = json.loads(json.dumps(envelope_of(signed)))
    alter(envelope)
    with pytest.raises(SignatureError, match=words):
        open_bundle(rewrite(signed, [envelope], tmp_path / "odd.edgetl"), trust=[trusted(key)])


def test_no_flipped_bit_of_the_envelope_is_trusted(signed, key):
    """Every seventh bit here; every bit of a whole bundle in `make test-faults`."""
    with open_bundle(signed) as bundle:
        text = bundle.member_bytes(manifests.SIGNATURE_NAME)
        manifest_sha256 = bundle.manifest_sha256
        names = [name for name in bundle.names if name != manifests.SIGNATURE_NAME]
    keys = [trusted(key)]
    for position in range(0, 8 * len(text), 7):
        flipped = bytearray(text)
        flipped[position // 8] ^= 1 << position % 8
        try:
            signatures = json.loads(bytes(flipped))["signatures"]
        except (ValueError, KeyError, TypeError):
            continue
        with pytest.raises(SignatureError):
            signature.verify_model(signatures, keys, manifest_sha256=manifest_sha256, names=names)


def test_other_curves_and_other_keys_are_refused():
    from cryptography.hazmat.primitives.asymmetric import ec

    pem = signature.public_pem(ec.generate_private_key(ec.SECP384R1()).public_key())
    with pytest.raises(SignatureError, match="P-256"):
        signature.load_public_key(pem)
    with pytest.raises(SignatureError, match="PEM"):
        signature.load_public_key("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")


def test_nothing_of_the_manifest_is_parsed_before_the_signature(tiny_parts, tmp_path, key, monkeypatch):
    fields, members = tiny_parts()
    write_bundle(tmp_path / "a.edgetl", fields, members)

    def parse(_: bytes) -> None:
        raise BundleError("the manifest", "left alone", "parsed", fix="x")

    monkeypatch.setattr(manifests, "parse", parse)
    with pytest.raises(SignatureError, match="no signature"):
        open_bundle(tmp_path / "a.edgetl", trust=[trusted(key)])
