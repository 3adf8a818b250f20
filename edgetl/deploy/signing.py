"""Keys and signatures on the host: key files, signatures of bundles, rotations and rollback permits."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import secrets
import stat
from typing import TYPE_CHECKING, Any

from edgetl_runtime import durable, signature
from edgetl_runtime import manifest as manifests
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: TC004  (never from a file)

    from edgetl_runtime.bundle import Bundle


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key that is loaded, and its public half.

    Attributes:
        private: On P-256.
        pem: The public half.
    """

    private: EllipticCurvePrivateKey
    pem: str

    @property
    def id(self) -> str:
        """Return the id of the public half, as signatures name it."""
        return signature.key_id(self.pem)


def new_key(path: Path) -> SigningKey:
    """Make a key pair: `path` for the private half, mode 0600, and the same name with `.pub` for the public one.

    Args:
        path: Of the private key, by custom `NAME.key`.

    Raises:
        UsageError: One of the files exists: a key is never overwritten.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = path.with_suffix(".pub")
    for file in (path, public):
        if file.exists():
            raise UsageError(f"key file {file}", "a new file", "an existing one", fix="choose another name")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    made = SigningKey(private=key, pem=signature.public_pem(key.public_key()))
    durable.write_new(path, pem, mode=durable.PRIVATE)
    durable.write_new(public, made.pem.encode())
    return made


def load_key(path: Path) -> SigningKey:
    """Read a private key file.

    Raises:
        UsageError: It is missing, readable by others, or not a P-256 key without passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not path.is_file():
        raise UsageError(f"--key {path}", "a private key file", "none", fix=f"edgetl keys new {path}")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        got = f"mode {stat.S_IMODE(path.stat().st_mode):04o}"
        raise UsageError(f"--key {path}", "readable by its owner alone", got, fix=f"chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        fix = "edgetl keys new"
        raise UsageError(
            f"--key {path}", "a private key in PEM without passphrase", f"{error!s:.60}", fix=fix
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"--key {path}", "a key on the curve P-256", type(key).__name__, fix="edgetl keys new")
    return SigningKey(private=key, pem=signature.public_pem(key.public_key()))


def sign_statement(key: SigningKey, statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sigstore bundle (JSON) around a signed statement.

    Args:
        key: That signs.
        statement: As `signature.statement` makes them.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    payload = json.dumps(statement, separators=(",", ":"), ensure_ascii=False).encode()
    signed = key.private.sign(signature.pre_authentication(payload), ec.ECDSA(hashes.SHA256()))
    return {
        "mediaType": signature.MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.id}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": signature.PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signed).decode(), "keyid": ""}],
        },
    }


def signature_member(keys: tuple[SigningKey, ...], *, line: str, digests: Mapping[str, str]) -> bytes:
    """Return the bytes of `signature.json`: one signature for each key, none for no key.

    Args:
        keys: That sign; two during a rotation.
        line: Product line; names the model in the statement.
        digests: Member → SHA-256, as `Bundle.digests` has them.
    """
    if not keys:
        return manifests.UNSIGNED
    signed = [sign_statement(key, signature.model_statement(line, digests)) for key in keys]
    return document(signed)


def document(signatures: list[dict[str, Any]]) -> bytes:
    """Return the bytes of `signature.json` around signatures."""
    return (json.dumps({"signatures": signatures}, separators=(",", ":")) + "\n").encode()


def rotation(old: SigningKey, new_pem: str, *, revoke_old: bool = False) -> dict[str, Any]:
    """Return a statement, signed by the old key, that the new key follows it for the same product lines.

    Args:
        old: Key that devices trust today.
        new_pem: Public half of the key that follows.
        revoke_old: Devices stop trusting the old key at once; else it stays good beside the new one.
    """
    pem = signature.public_pem(signature.load_public_key(new_pem))
    digest = signature.key_id(pem)
    # a device follows each rotation once; the id makes one that is made on purpose another one
    predicate = {"pem": pem, "revoke_old": revoke_old, "id": secrets.token_hex(16)}
    return sign_statement(old, signature.statement(signature.ROTATION_PREDICATE, "key", digest, predicate))


def rollback_permit(key: SigningKey, bundle: Bundle, *, floor: int) -> dict[str, Any]:
    """Return a permit, good for one commit, to install an older bundle on a device whose floor is `floor`.

    Args:
        key: Trusted for the bundle's product line.
        bundle: The older one.
        floor: Sequence that the device has committed; `edgetl-runtime status` says it.
    """
    predicate = {
        "line": bundle.manifest.line,
        "sequence": bundle.manifest.sequence,
        "floor": floor,
        "id": secrets.token_hex(16),
        "made": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    made = signature.statement(signature.PERMIT_PREDICATE, bundle.manifest.line, bundle.manifest_sha256, predicate)
    return sign_statement(key, made)
