"""Signatures in the form of OpenSSF Model Signing: a DSSE envelope around an in-toto statement, ECDSA on P-256.

A statement lists the SHA-256 of every member of a bundle but `signature.json`. Nothing of a bundle is parsed before
its envelope is verified, beyond the ZIP's structure and the envelope itself. `cryptography` does the arithmetic.

References:
    https://github.com/ossf/model-signing-spec
    https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import re
from typing import TYPE_CHECKING, Any, NoReturn

from edgetl_runtime.errors import SignatureError
from edgetl_runtime.schema import from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MODEL_PREDICATE = "https://model_signing/signature/v1.0"
ROTATION_PREDICATE = "https://edgetl.dev/key-rotation/v1"
PERMIT_PREDICATE = "https://edgetl.dev/rollback-permit/v1"
MAX_SIGNATURES = 4
_CURVE = "secp256r1"
_SIGN_AGAIN = "sign again with edgetl or model-signing"
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key that this machine trusts.

    The same key is the same value, however its PEM text was written.

    Attributes:
        pem: SubjectPublicKeyInfo of a P-256 key, as PEM; canonical, whatever was given.
        lines: Product lines it may sign for; empty means any.
        revoked: Its signatures are refused, however good.
        origin: `local`, or the id of the key that vouched for it.
    """

    pem: str
    lines: tuple[str, ...] = ()
    revoked: bool = False
    origin: str = "local"

    def __post_init__(self) -> None:
        """Read the key and write it again.

        Raises:
            SignatureError: It is not a P-256 key, or `cryptography` is not installed.
        """
        object.__setattr__(self, "pem", public_pem(load_public_key(self.pem)))

    @property
    def id(self) -> str:
        """Return the SHA-256 of the PEM, as the signature's hint names the key."""
        return key_id(self.pem)


def key_id(pem: str) -> str:
    """Return the id of a public key: the SHA-256 of its canonical PEM text in lower-case hex.

    Example:
        >>> key_id("x")[:8]
        '2d711642'
    """
    return hashlib.sha256(pem.encode()).hexdigest()


def load_public_key(pem: str) -> EllipticCurvePublicKey:
    """Read a PEM public key.

    Raises:
        SignatureError: It is not a P-256 key in PEM, or `cryptography` is not installed.
    """
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        fix = 'pip install "edgetl-runtime[install]"'
        raise SignatureError("the package cryptography", "installed to check signatures", "none", fix=fix) from error
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError("a public key", "PEM of a P-256 key", f"{error!s:.60}", fix="edgetl keys new") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != _CURVE:
        raise SignatureError("a public key", "on the curve P-256", type(key).__name__, fix="edgetl keys new")
    return key


def public_pem(key: EllipticCurvePublicKey) -> str:
    """Return a public key as PEM text."""
    from cryptography.hazmat.primitives import serialization

    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(encoding, form).decode()


def pre_authentication(payload: bytes) -> bytes:
    """Return what is signed: DSSE's encoding of payload type and payload."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def model_statement(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the in-toto statement about a bundle.

    Args:
        name: Of the model.
        digests: Member → SHA-256 in hex, of every member but `signature.json`.
    """
    resources = [{"name": n, "algorithm": "sha256", "digest": digests[n]} for n in sorted(digests)]
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []}
    predicate = {"serialization": serialization, "resources": resources}
    return statement(MODEL_PREDICATE, name, root_digest(resources), predicate)


def statement(predicate_type: str, name: str, digest: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return an in-toto statement with one subject."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}}],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def root_digest(resources: Sequence[Mapping[str, str]]) -> str:
    """Return the digest of the resources' digests, in their order."""
    return hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()


def verify_model(
    signatures: Sequence[object], keys: Sequence[TrustedKey], *, manifest_sha256: str, names: Sequence[str]
) -> tuple[TrustedKey, dict[str, str]]:
    """Check that a trusted key signed a bundle's manifest and the names of its members.

    Args:
        signatures: As `signature.json` lists them.
        keys: That this machine trusts, revoked ones too.
        manifest_sha256: Of the bytes of `manifest.json`.
        names: Of all members but `signature.json`.

    Returns:
        The key, and the signed SHA-256 of each member, which the caller must compare.

    Raises:
        SignatureError: No signature is good and by a trusted key.
    """
    if not signatures:
        fix = "sign it: edgetl keys sign; or --allow-unsigned, which is recorded"
        raise SignatureError("the bundle", "signed by a trusted key", "no signature", fix=fix)
    if len(signatures) > MAX_SIGNATURES:
        _refuse(f"at most {MAX_SIGNATURES} signatures", f"{len(signatures)}")
    key, signed = verify_any(signatures, keys, MODEL_PREDICATE)
    digests = _resources(signed)
    if digests.get("manifest.json") != manifest_sha256:
        _refuse("of this manifest.json", "the signature of another bundle")
    if set(digests) != set(names):
        _refuse("of exactly the members", "one of other members")
    return key, digests


def verify_any(
    signatures: Sequence[object], keys: Sequence[TrustedKey], predicate_type: str
) -> tuple[TrustedKey, Mapping[str, Any]]:
    """Return the first trusted key, and its statement, among several envelopes.

    Raises:
        SignatureError: The reason that the last envelope was refused.
    """
    reason: SignatureError | None = None
    for envelope in signatures:
        try:
            return verify_envelope(envelope, keys, predicate_type)
        except SignatureError as error:  # noqa: PERF203  (at most four)
            reason = error
    raise reason or SignatureError("the statement", "signed", "no signature", fix="edgetl keys --help")


def verify_envelope(
    envelope: object, keys: Sequence[TrustedKey], predicate_type: str
) -> tuple[TrustedKey, Mapping[str, Any]]:
    """Check one envelope.

    Args:
        envelope: The JSON of a sigstore bundle, parsed.
        keys: That this machine trusts, revoked ones too.
        predicate_type: What kind of statement is expected; another kind is refused even with a good signature.

    Returns:
        The key and the statement.

    Raises:
        SignatureError: It is malformed, unsigned, or signed by no trusted key.
    """
    outer = _object(envelope, ("mediaType", "verificationMaterial", "dsseEnvelope"))
    if outer["mediaType"] != MEDIA_TYPE:
        _refuse(f"of type {MEDIA_TYPE}", f"{outer['mediaType']!r:.60}")
    material = _object(outer["verificationMaterial"], ("publicKey",), optional=("tlogEntries",))
    hint = _object(material["publicKey"], ("hint",))["hint"]
    if material.get("tlogEntries", []) != []:
        _refuse("without transparency log entries", "some")
    dsse = _object(outer["dsseEnvelope"], ("payload", "payloadType", "signatures"))
    if dsse["payloadType"] != PAYLOAD_TYPE:
        _refuse(f"of payload type {PAYLOAD_TYPE}", f"{dsse['payloadType']!r:.60}")
    if not isinstance(dsse["signatures"], list) or len(dsse["signatures"]) != 1:
        _refuse("with one signature", "none or several")
    one = _object(dsse["signatures"][0], ("sig",), optional=("keyid",))
    if one.get("keyid", "") not in ("", None):
        _refuse("without a key id of its own", f"{one['keyid']!r:.60}")
    key = _key_of(hint, keys)
    payload = _base64(dsse["payload"])
    _verify(key, _base64(one["sig"]), payload)
    return key, _statement(payload, predicate_type)


def _key_of(hint: object, keys: Sequence[TrustedKey]) -> TrustedKey:
    key = next((k for k in keys if k.id == hint), None)
    if key is None:
        fix = "on the device: edgetl-runtime trust add KEY.pub"
        raise SignatureError("the signing key", "trusted by this machine", f"key {hint!s:.16}", fix=fix)
    if key.revoked:
        raise SignatureError("the signing key", "not revoked", f"key {hint!s:.16}", fix="sign with the present key")
    return key


def _verify(key: TrustedKey, signature: bytes, payload: bytes) -> None:
    public = load_public_key(key.pem)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        public.verify(signature, pre_authentication(payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        fix = "copy the file again; if that does not help, it was altered"
        raise SignatureError("the signature", f"by key {key.id[:16]}", "another one", fix=fix) from error


def _statement(payload: bytes, predicate_type: str) -> Mapping[str, Any]:
    parsed = from_json(payload, where="the signature's statement", error=SignatureError, fix=_SIGN_AGAIN)
    found = _object(parsed, ("_type", "subject", "predicateType", "predicate"))
    if found["_type"] != STATEMENT_TYPE:
        _refuse(f"of type {STATEMENT_TYPE}", f"{found['_type']!r:.60}")
    if found["predicateType"] != predicate_type:
        _refuse(f"about {predicate_type}", f"{found['predicateType']!r:.80}")
    if not isinstance(found["predicate"], dict):
        _refuse("with a predicate", "none")
    return found


def use_of(key: TrustedKey, envelope: Mapping[str, Any]) -> str:
    """Return what identifies a verified statement of a key, however often it is signed: signatures are not unique."""
    payload = _base64(envelope["dsseEnvelope"]["payload"])
    return hashlib.sha256(key.id.encode() + payload).hexdigest()


def subject_digest(signed: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a statement's one subject.

    Raises:
        SignatureError: There is none, or several.
    """
    subjects = signed["subject"]
    if not isinstance(subjects, list) or len(subjects) != 1:
        _refuse("about one subject", "none or several")
    digest = _object(_object(subjects[0], ("name", "digest"))["digest"], ("sha256",))["sha256"]
    return _hex(digest)


def _resources(signed: Mapping[str, Any]) -> dict[str, str]:
    predicate = signed["predicate"]
    serialization, resources = predicate.get("serialization"), predicate.get("resources")
    if not isinstance(serialization, dict) or serialization.get("method") != "files":
        _refuse("over whole files", "another serialization")
    if serialization.get("hash_type") != "sha256" or not isinstance(resources, list):
        _refuse("over SHA-256 digests", "others")
    checked = [_object(resource, ("name", "algorithm", "digest")) for resource in resources]
    if any(resource["algorithm"] != "sha256" for resource in checked):
        _refuse("over SHA-256 digests", "others")
    digests = {str(resource["name"]): _hex(resource["digest"]) for resource in checked}
    if len(digests) != len(checked) or subject_digest(signed) != root_digest(checked):
        _refuse("consistent", "digests that contradict each other")
    return digests


def _hex(value: object) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        _refuse("of SHA-256 digests in lower-case hex", f"{value!r:.70}")
    return value


def _object(value: object, keys: tuple[str, ...], *, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse("a JSON object", f"{value!r:.60}")
    if not set(keys) <= set(value) <= {*keys, *optional}:
        _refuse("of the keys " + ", ".join(keys), ", ".join(sorted(map(str, value)))[:80])
    return value


def _base64(value: object) -> bytes:
    """Decode strictly: one text for every value, so that no bit of it is free."""
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (ValueError, binascii.Error):
        data = b""
    if not data or base64.b64encode(data).decode() != value:
        _refuse("of canonical base64", f"{value!r:.40}")
    return data


def _refuse(must: str, got: str) -> NoReturn:
    raise SignatureError("the signature", must, got, fix=_SIGN_AGAIN)
