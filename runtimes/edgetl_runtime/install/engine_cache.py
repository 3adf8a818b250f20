"""What backends compile on this device: kept by what it was made of, sealed with a key that never leaves it.

An engine is code. It is loaded only if this device made it: from the same model, with the same backend, driver and
processor, and nobody has changed a byte since. Anything else is made again, never tried.

Backends that keep engines themselves say so of each engine. Their folder depends on the model and its options alone,
so that whoever installs, builds ahead or serves finds the same one; after an update of the driver or of JetPack the
new engine takes the place of the old one there.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import re
import secrets
import shutil
from typing import TYPE_CHECKING, Any

from edgetl_runtime import backends, durable, probe, session
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.manifest import VariantManifest

SEAL_NAME = "seal.json"
ENGINES = "engines-"  # begins the names of the folders that need no seal
SPARE_ENGINES = 2  # folders of engines that no generation needs, kept until `gc`
_KEY = re.compile(rf"(?:{ENGINES})?[0-9a-f]{{32}}")
_KEY_BYTES = 32
_log = logging.getLogger(__name__)


def key_of(bundle: Bundle, variant: VariantManifest) -> str:
    """Return the name of a variant's cache: a digest of all that a compiled model depends on."""
    backend = backends.get(variant.backend)
    parts: dict[str, Any] = {
        "model": bundle.digests[variant.files["model"]],
        "backend": variant.backend,
        "precision": variant.precision,
        "options": to_mapping(variant.options),
    }
    if not backend.keeps_engines:
        facts, package = probe.facts(), backend.info.package
        parts["version"] = probe.package_version(package) if package else None
        parts["machine"] = [facts.arch, facts.cpu, list(facts.cpu_flags), facts.kernel]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    return ENGINES + digest if backend.keeps_engines else digest


def prepare(root: Path, key: str) -> Path:
    """Return the folder of a cache, emptied unless its seal is intact or its backend keeps engines itself.

    Args:
        root: Of the device.
        key: From `key_of`.
    """
    folder = root / "cache" / key
    if folder.is_symlink() or (folder.exists() and not _needs_no_seal(key) and not is_sealed(root, key)):
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def seal(root: Path, key: str) -> None:
    """Seal what lies in a cache now; a cache without a seal, after a power cut, is made again."""
    if _needs_no_seal(key):
        return
    folder = root / "cache" / key
    text = json.dumps({"hmac": _digest(root, folder)})
    durable.write_whole(folder / SEAL_NAME, text.encode())


@contextlib.contextmanager
def opened(root: Path, key: object) -> Iterator[Path | None]:
    """Give the folder of an installed generation while it is loaded, and seal what was made again meanwhile.

    Args:
        root: Of the device.
        key: From the generation's proof.

    Yields:
        The folder; None where there is none that may be used, so that nothing is kept.
    """
    folder = None
    if isinstance(key, str) and _KEY.fullmatch(key):
        try:
            folder = prepare(root, key)
        except OSError as error:  # a disk that cannot be written may still be read
            _log.warning("the cache %s cannot be written: %s", key, error.strerror)
            folder = root / "cache" / key if _needs_no_seal(key) or is_sealed(root, key) else None
    yield folder
    if folder is not None and not _needs_no_seal(key) and not is_sealed(root, str(key)):
        with contextlib.suppress(OSError):
            seal(root, str(key))


def build(
    bundle: Bundle,
    variant: VariantManifest,
    cache: Path | None,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any] | None:
    """Build the engine of a variant, unless it is there, before anything waits for it.

    Args:
        bundle: Installed.
        variant: Of it.
        cache: From `prepare` or `opened`.
        progress: Called with what is being done and the share that is done.

    Returns:
        What was built or found; None where the backend builds nothing.

    Raises:
        BackendError: The model is refused, or the build fails.
    """
    if not backends.get(variant.backend).keeps_engines:
        return None
    return session.prepare(bundle, variant, cache_dir=cache, progress=progress)


def unneeded(root: Path, needed: set[str], *, spare: bool) -> list[Path]:
    """Return the folders that no generation needs.

    Args:
        root: Of the device.
        needed: Keys of the installed generations.
        spare: Leave the engines used last: building one takes minutes, and what failed its self-test is tried again.
    """
    unused = [path for path in sorted((root / "cache").iterdir()) if path.name not in needed]
    engines = [path for path in unused if _needs_no_seal(path.name)] if spare else []
    kept = sorted(engines, key=lambda path: path.lstat().st_mtime_ns)[-SPARE_ENGINES:]
    return [path for path in unused if path not in kept]


def _needs_no_seal(key: object) -> bool:
    return str(key).startswith(ENGINES)


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
        if path.name == SEAL_NAME:
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
    durable.write_whole(path, key, mode=durable.PRIVATE)
    return key
