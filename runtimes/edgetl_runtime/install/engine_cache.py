"""What backends compile on this device: kept by what it was made of, sealed with a key that never leaves it.

An engine is code. It is loaded only if this device made it: from the same model, with the same backend, driver and
processor, and nobody has changed a byte since. Anything else is made again, never tried.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import shutil
from typing import TYPE_CHECKING

from edgetl_runtime import backends, probe
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from pathlib import Path

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.manifest import VariantManifest

SEAL_NAME = "seal.json"
_KEY_BYTES = 32


def key_of(bundle: Bundle, variant: VariantManifest) -> str:
    """Return the name of a variant's cache: a digest of all that a compiled model depends on."""
    facts = probe.facts()
    package = backends.get(variant.backend).info.package
    parts = {
        "model": bundle.digests[variant.files["model"]],
        "backend": variant.backend,
        "version": probe.package_version(package) if package else None,
        "precision": variant.precision,
        "options": to_mapping(variant.options),
        "machine": [facts.arch, facts.cpu, list(facts.cpu_flags), facts.kernel],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def prepare(root: Path, key: str) -> Path:
    """Return the folder of a cache, emptied unless its seal is intact.

    Args:
        root: Of the device.
        key: From `key_of`.
    """
    folder = root / "cache" / key
    if folder.is_symlink() or (folder.exists() and not is_sealed(root, key)):
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def seal(root: Path, key: str) -> None:
    """Seal what lies in a cache now; a cache without a seal, after a power cut, is made again."""
    folder = root / "cache" / key
    text = json.dumps({"hmac": _digest(root, folder)})
    temporary = folder / (SEAL_NAME + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / SEAL_NAME)


def is_sealed(root: Path, key: str) -> bool:
    """Say whether a cache is as this device left it."""
    folder = root / "cache" / key
    try:
        sealed = json.loads((folder / SEAL_NAME).read_text(encoding="utf-8"))["hmac"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(sealed, str) and hmac.compare_digest(sealed, _digest(root, folder))


def _digest(root: Path, folder: Path) -> str:
    found = hmac.new(_device_key(root), folder.name.encode(), hashlib.sha256)
    for path in sorted(folder.rglob("*")):
        if path.name in (SEAL_NAME, SEAL_NAME + ".tmp"):
            continue
        name = str(path.relative_to(folder)).encode()
        kind = b"link" if path.is_symlink() else b"file" if path.is_file() else b"other"
        found.update(len(name).to_bytes(4, "big") + name + kind)
        if kind == b"file":
            content = hashlib.sha256(path.read_bytes()).digest()
            found.update(content)
    return found.hexdigest()


def _device_key(root: Path) -> bytes:
    """Return the device's key, made on first use; without it every cache is made again."""
    path = root / "cache.key"
    if path.is_file() and path.stat().st_size == _KEY_BYTES:
        return path.read_bytes()
    key = secrets.token_bytes(_KEY_BYTES)
    temporary = path.with_name("cache.key.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, key)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    return key
