"""Whose signatures count on this device: `trust.json`, replaced whole or not at all."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from edgetl_runtime import signature
from edgetl_runtime.errors import InstallError, UsageError
from edgetl_runtime.schema import from_mapping, to_mapping
from edgetl_runtime.signature import TrustedKey

if TYPE_CHECKING:
    from pathlib import Path

    from edgetl_runtime.install.disk import Disk

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The content of `trust.json`.

    Attributes:
        schema_version: Of this format.
        keys: Trusted and revoked ones.
    """

    schema_version: int = SCHEMA_VERSION
    keys: tuple[TrustedKey, ...] = ()


class TrustStore:
    """The keys of a device.

    Args:
        path: Of `trust.json`.
        disk: Writes it.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self._disk = disk

    def keys(self) -> tuple[TrustedKey, ...]:
        """Return all keys, revoked ones too; none where there is no file.

        Raises:
            InstallError: The file is damaged.
        """
        if not self.path.exists():
            return ()
        try:
            mapping = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            fix = "edgetl-runtime trust set FILE.json"
            raise InstallError(f"{self.path}", "readable JSON", f"{error!s:.80}", fix=fix) from error
        return parse(mapping, where=str(self.path)).keys

    def put(self, keys: tuple[TrustedKey, ...]) -> None:
        """Replace the keys; durable on return."""
        text = json.dumps(to_mapping(Trust(keys=keys)), indent=1) + "\n"
        self._disk.make_folder(self.path.parent)
        self._disk.replace(self.path, text.encode())

    def add(self, key: TrustedKey) -> None:
        """Trust a key; a revoked one is never trusted again.

        Raises:
            SignatureError: It is not a P-256 key.
            UsageError: It is revoked.
        """
        signature.load_public_key(key.pem)
        known = self.keys()
        if any(k.id == key.id and k.revoked for k in known):
            raise UsageError("the key", "one that was not revoked", key.id[:16], fix="make a new key: edgetl keys new")
        self.put((*(k for k in known if k.id != key.id), key))

    def revoke(self, start: str) -> TrustedKey:
        """Revoke the key whose id begins with `start`, and refuse its signatures from now on.

        Raises:
            UsageError: No key, or several, begin so.
        """
        found = [key for key in self.keys() if key.id.startswith(start)]
        if len(found) != 1 or len(start) < 8:
            got = f"{len(found)} keys that begin with '{start}'"
            raise UsageError("the key id", "that of one key, 8 digits or more", got, fix="edgetl-runtime trust list")
        revoked = dataclasses.replace(found[0], revoked=True)
        self.put(tuple(revoked if key.id == revoked.id else key for key in self.keys()))
        return revoked

    def rotate(self, envelope: object) -> TrustedKey:
        """Trust the key that a trusted key vouches for, for the same product lines.

        Args:
            envelope: What `edgetl keys rotate` wrote.

        Returns:
            The new key.

        Raises:
            SignatureError: No trusted key vouches, or the statement is malformed.
        """
        known = self.keys()
        old, statement = signature.verify_envelope(envelope, known, signature.ROTATION_PREDICATE)
        predicate = statement["predicate"]
        pem, revoke_old = predicate.get("pem"), predicate.get("revoke_old")
        if not isinstance(pem, str) or not isinstance(revoke_old, bool):
            raise InstallError("the rotation", "of the keys pem and revoke_old", "others", fix="edgetl keys rotate")
        signature.load_public_key(pem)
        new = TrustedKey(pem=pem, lines=old.lines, origin=old.id)
        if new.id != signature.subject_digest(statement):
            raise InstallError("the rotation", "about the key it contains", "another", fix="edgetl keys rotate")
        if any(key.id == new.id and key.revoked for key in known):
            raise InstallError("the new key", "one that was not revoked", new.id[:16], fix="edgetl keys new")
        kept = [
            dataclasses.replace(key, revoked=True) if revoke_old and key.id == old.id else key
            for key in known
            if key.id != new.id
        ]
        self.put((*kept, new))
        return new


def parse(mapping: Any, *, where: str) -> Trust:  # noqa: ANN401  (JSON)
    """Read the content of a trust file, strictly.

    Raises:
        InstallError: It is not one, or from a newer edgetl.
        SignatureError: A key is not a P-256 key.
    """
    trust = from_mapping(Trust, mapping, where=where, error=InstallError)
    if trust.schema_version > SCHEMA_VERSION:
        got = str(trust.schema_version)
        raise InstallError(f"version of {where}", f"at most {SCHEMA_VERSION}", got, fix="update edgetl-runtime")
    for key in trust.keys:
        signature.load_public_key(key.pem)
    return trust
