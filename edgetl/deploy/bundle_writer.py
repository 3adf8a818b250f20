"""Write a bundle, and sign one that is written: deterministic bytes, complete or not there at all."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edgetl.deploy import signing
from edgetl_runtime import bundle as bundles
from edgetl_runtime import durable, onnx_walk, signature
from edgetl_runtime import manifest as manifests
from edgetl_runtime.errors import BundleError, SignatureError, UsageError
from edgetl_runtime.schema import from_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgetl.deploy.signing import SigningKey
    from edgetl_runtime.manifest import Manifest

_FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes
_UNIX = 3


def write_bundle(
    path: Path,
    manifest: Manifest,
    members: Mapping[str, bytes],
    *,
    replace: bool = False,
    keys: tuple[SigningKey, ...] = (),
) -> None:
    """Write a bundle beside its final place, read it back strictly, then rename it.

    Args:
        path: Of the bundle; its folder must exist.
        manifest: Without `files`, which is filled in here.
        members: Name → bytes of every member but the manifest and the signature, in the order of the file.
        replace: Replace an existing file, atomically.
        keys: That sign the bundle; none leaves it unsigned.

    Raises:
        UsageError: The file exists and may not be replaced.
        BundleError: The strict reader would refuse the bundle.
        OSError: The disk is full or not writable; nothing is left behind.
    """
    if path.exists() and not replace:
        raise UsageError("the bundle", "a file that does not exist yet", str(path), fix="--force")
    _check(members)
    entries = tuple(
        manifests.FileEntry(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in members.items()
    )
    described = manifests.dump(dataclasses.replace(manifest, files=entries))
    digests = {manifests.MANIFEST_NAME: hashlib.sha256(described).hexdigest(), **{e.name: e.sha256 for e in entries}}
    signed = signing.signature_member(keys, line=manifest.line, digests=digests)
    write_signed(path, {manifests.MANIFEST_NAME: described, **members}, signed)


def write_signed(path: Path, members: Mapping[str, bytes], signed: bytes) -> None:
    """Write members and `signature.json` beside the bundle's place, read them back strictly, then rename.

    Args:
        path: Of the bundle; replaced if it exists.
        members: Name → bytes, `manifest.json` first.
        signed: Bytes of `signature.json`, which becomes the second member.

    Raises:
        BundleError: The strict reader would refuse the bundle.
        OSError: The disk is full or not writable; nothing is left behind.
    """
    head = {manifests.MANIFEST_NAME: members[manifests.MANIFEST_NAME], manifests.SIGNATURE_NAME: signed}
    with durable.whole(path) as file:
        _write(file, {**head, **members}.items())
        durable.sync(file)
        with bundles.open_bundle(Path(file.name)) as written:
            written.verify()


def attach(path: Path, envelopes: list[dict[str, Any]]) -> None:
    """Put signatures made elsewhere, for instance by `model_signing sign` with a hardware key, into a bundle.

    Each must be about exactly this bundle; whose they are, the device decides.

    Raises:
        SignatureError: A signature is about something else or malformed.
    """
    with bundles.open_bundle(path) as bundle:
        for envelope in envelopes:
            _check_is_about(bundle, envelope)
        members = {name: bundle.member_bytes(name) for name in bundle.names if name != manifests.SIGNATURE_NAME}
    write_signed(path, members, signing.document(envelopes))


def _check_is_about(bundle: bundles.Bundle, envelope: Mapping[str, Any]) -> None:
    try:
        payload = base64.b64decode(envelope["dsseEnvelope"]["payload"], validate=True)
        resources = from_json(payload, where="the statement", fix="")["predicate"]["resources"]
        signed = {resource["name"]: resource["digest"] for resource in resources}
    except (KeyError, TypeError, ValueError) as error:
        fix = "sign with: model_signing sign key"
        raise SignatureError("the signature", "in the form of OpenSSF Model Signing", "another", fix=fix) from error
    if signed != bundle.digests:
        fix = "edgetl-runtime unpack BUNDLE FOLDER, then sign that folder"
        raise SignatureError("the signature", f"about the members of {bundle.path}", "one about others", fix=fix)


def sign_bundle(path: Path, keys: tuple[SigningKey, ...]) -> None:
    """Sign an existing bundle, replacing its signatures, atomically."""
    with bundles.open_bundle(path) as bundle:
        statement = signature.model_statement(bundle.manifest.line, bundle.digests)
    attach(path, [signing.sign_statement(key, statement) for key in keys])


def _check(members: Mapping[str, bytes]) -> None:
    """Refuse early, with the member's name, what the reader would refuse."""
    names = [manifests.MANIFEST_NAME, manifests.SIGNATURE_NAME, *members]
    faults = [f"'{name}': {fault}" for name in names if (fault := bundles.name_fault(name))]
    fault = faults[0] if faults else bundles.names_fault(names)
    if fault:
        raise BundleError("the members' names", "plain and different", fault, fix="rename the member")
    for name, data in members.items():
        if name.lower().endswith(".onnx"):
            onnx_walk.check(data, name=f"model '{name}'")


def _write(file: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, _FIXED_DATE)
            info.create_system = _UNIX
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
