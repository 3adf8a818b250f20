"""Whose signatures count on this device: `trust.json`, replaced whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING, Any, cast

from edgetl_runtime import signature
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import InstallError, OutdatedError, SignatureError, UsageError, unreadable
from edgetl_runtime.schema import from_json, from_mapping, to_mapping
from edgetl_runtime.signature import TrustedKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.install.disk import Disk

SCHEMA_VERSION = 2  # of a file with rotations; one without is of version 1, which older runtimes read
_SET = "edgetl-runtime trust set FILE.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The content of `trust.json`.

    Attributes:
        schema_version: Of this format.
        keys: Trusted and revoked ones.
        rotations_used: Digests of the rotations that this device has followed; each is good once.
    """

    schema_version: int = 1
    keys: tuple[TrustedKey, ...] = ()
    rotations_used: tuple[str, ...] = ()


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
        return self._read().keys

    def set(self, wanted: Trust) -> None:
        """Replace the trusted keys; what was revoked or used here stays so. A damaged file is replaced.

        Raises:
            UsageError: A key is to be trusted that was revoked here.
            InstallError: A key stands twice in it.
            OutdatedError: This device's own file is from a newer edgetl.
        """
        try:
            known = self._read()
        except OutdatedError:
            raise
        except (InstallError, SignatureError):  # this is how it is mended
            known = Trust()
        ids = [key.id for key in wanted.keys]
        twin = next((key_id for key_id in ids if ids.count(key_id) > 1), None)
        if twin is not None:
            fix = "edgetl keys trust with each key once"
            raise InstallError("the keys of the file", "different", f"key {twin[:16]} twice", fix=fix)
        gone = {key.id: key for key in known.keys if key.revoked}
        for key in wanted.keys:
            if key.id in gone and not key.revoked:
                fix = "edgetl keys trust without it; revoked keys are never trusted again"
                raise UsageError("a key of the file", "one that was not revoked", key.id[:16], fix=fix)
        kept = [key for key in gone.values() if key.id not in ids]
        used = dict.fromkeys((*known.rotations_used, *wanted.rotations_used))
        self._write(Trust(keys=(*wanted.keys, *kept), rotations_used=tuple(used)))

    def open(self, path: Path, key_id: str | None) -> Bundle:
        """Open an installed bundle, with the key that it was installed by if that is still trusted.

        Only then may an engine in it be loaded. What runs goes on without: `verify --installed` tells what is wrong.

        Raises:
            BundleError: The bundle is damaged.
        """
        keys: list[TrustedKey] = []
        with contextlib.suppress(InstallError, SignatureError, OutdatedError):
            trusted = self.keys()
            keys = [key for key in trusted if key.id == key_id]
        if keys:
            with contextlib.suppress(SignatureError):
                return open_bundle(path, trust=keys)
        return open_bundle(path)

    def add(self, key: TrustedKey) -> None:
        """Trust a key; a revoked one is never trusted again.

        Raises:
            SignatureError: It is not a P-256 key.
            UsageError: It is revoked.
        """
        known = self._read()
        if any(k.id == key.id and k.revoked for k in known.keys):
            raise UsageError("the key", "one that was not revoked", key.id[:16], fix="make a new key: edgetl keys new")
        self._write(dataclasses.replace(known, keys=(*(k for k in known.keys if k.id != key.id), key)))

    def revoke(self, start: str) -> TrustedKey:
        """Revoke the key whose id begins with `start`, and refuse its signatures from now on.

        Raises:
            UsageError: No key, or several, begin so.
        """
        known = self._read()
        found = [key for key in known.keys if key.id.startswith(start)]
        if len(found) != 1 or len(start) < 8:
            got = f"{len(found)} keys that begin with '{start}'"
            raise UsageError("the key id", "that of one key, 8 digits or more", got, fix="edgetl-runtime trust list")
        revoked = dataclasses.replace(found[0], revoked=True)
        keys = tuple(revoked if key.id == revoked.id else key for key in known.keys)
        self._write(dataclasses.replace(known, keys=keys))
        return revoked

    def rotate(self, envelope: object) -> TrustedKey:
        """Trust the key that a trusted key vouches for, for the same product lines; each rotation is good once.

        A rotation brings a key and may end its own signer; it changes no other entry.

        Args:
            envelope: What `edgetl keys rotate` wrote.

        Returns:
            The new key.

        Raises:
            SignatureError: No trusted key vouches, or the statement is malformed.
            InstallError: It was used before, or the key that it brings is known here already.
        """
        known = self._read()
        old, statement = signature.verify_envelope(envelope, known.keys, signature.ROTATION_PREDICATE)
        new, revoke_old = _successor(old, statement)
        used = signature.use_of(old, cast("Mapping[str, Any]", envelope))
        if used in known.rotations_used:
            fix = "edgetl keys rotate, if it is meant; edgetl-runtime trust list says what is trusted"
            raise InstallError("the rotation", "one that was not used before", f"that to {new.id[:16]}", fix=fix)
        before = next((key for key in known.keys if key.id == new.id), None)
        if before is not None and before.revoked:
            raise InstallError("the new key", "one that was not revoked", new.id[:16], fix="edgetl keys new")
        if before is not None:
            got = f"{new.id[:16]}, trusted for {', '.join(before.lines) or 'any line'}"
            fix = "edgetl-runtime trust add KEY.pub --line LINE changes a key's lines"
            raise InstallError("the new key", "one that this device does not know", got, fix=fix)
        ended = dataclasses.replace(old, revoked=revoke_old)
        keys = (*(ended if key.id == old.id else key for key in known.keys), new)
        self._write(Trust(keys=keys, rotations_used=(*known.rotations_used, used)))
        return new

    def _read(self) -> Trust:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return Trust()
        except OSError as error:
            raise unreadable(InstallError, f"{self.path}", error, path=self.path) from error
        found = parse(data, where=str(self.path), fix=_SET)
        keys: dict[str, TrustedKey] = {}
        for key in found.keys:  # one key in two writings: the first says its lines, and a revocation of either counts
            first = keys.setdefault(key.id, key)
            keys[key.id] = dataclasses.replace(first, revoked=first.revoked or key.revoked)
        return dataclasses.replace(found, keys=tuple(keys.values()))

    def _write(self, trust: Trust) -> None:
        """Replace the file; durable on return."""
        versioned = dataclasses.replace(trust, schema_version=SCHEMA_VERSION if trust.rotations_used else 1)
        text = json.dumps(to_mapping(versioned), indent=1) + "\n"
        self._disk.make_folder(self.path.parent)
        self._disk.replace(self.path, text.encode())


def _successor(old: TrustedKey, statement: Mapping[str, Any]) -> tuple[TrustedKey, bool]:
    """Return the key that a rotation brings, with the lines of the one that vouches, and whether that one ends."""
    predicate = statement["predicate"]
    pem, revoke_old = predicate.get("pem"), predicate.get("revoke_old")
    if not isinstance(pem, str) or not isinstance(revoke_old, bool):
        raise InstallError("the rotation", "of the keys pem and revoke_old", "others", fix="edgetl keys rotate")
    new = TrustedKey(pem=pem, lines=old.lines, origin=old.id)
    if new.id != signature.subject_digest(statement):
        raise InstallError("the rotation", "about the key it contains", "another", fix="edgetl keys rotate")
    return new, revoke_old


def parse(data: bytes, *, where: str, fix: str = "edgetl keys trust") -> Trust:
    """Read the content of a trust file, strictly.

    Raises:
        InstallError: It is not one.
        OutdatedError: It is from a newer edgetl.
        SignatureError: A key is not a P-256 key.
    """
    mapping = from_json(data, where=where, error=InstallError, fix=fix)
    version = mapping.get("schema_version") if isinstance(mapping, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        got = str(version)
        raise OutdatedError(f"version of {where}", f"at most {SCHEMA_VERSION}", got, fix="update edgetl-runtime")
    return from_mapping(Trust, mapping, where=where, error=InstallError)
