"""Engines made on this machine, kept between starts.

An engine is native code: it is loaded only if this machine made it, from the same graph, with the same compiler, for
the same GPU and driver. Each is kept with a record, and the record with a code (HMAC-SHA256) whose secret never leaves
the folder. Whatever does not match is built again, and why is said; nothing is tried anyway.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import os
import secrets
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime import durable, locks
from edgetl_runtime.errors import BackendError
from edgetl_runtime.nvidia.process import WORK_PREFIX, disk_error

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_FILE = "private.key"
KEPT_ENGINES = 8
_WORDS = {
    "model_sha256": "the graph",
    "compiler": "TensorRT",
    "gpu": "the GPU",
    "compute_capability": "the compute capability",
    "driver": "the driver",
    "l4t": "the L4T release",
    "options": "the build options",
    "format": "the record's format",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What an engine is bound to.

    Attributes:
        model_sha256: Of the ONNX file.
        compiler: Product and version.
        gpu: Name of the GPU.
        compute_capability: Such as "8.7".
        driver: Version of CUDA the driver offers.
        l4t: Release of Jetson Linux; empty elsewhere.
        options: Everything else that changes the bytes, as JSON.
        format: Of this record.
    """

    model_sha256: str
    compiler: str
    gpu: str
    compute_capability: str
    driver: str
    l4t: str
    options: str
    format: int = 1

    @property
    def slot(self) -> str:
        """Name the place of an engine: one for each graph and set of options, whatever made it."""
        words = f"{self.model_sha256} {self.options}"
        return hashlib.sha256(words.encode()).hexdigest()[:24]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the cache knows.

    Attributes:
        plan: The engine; None where it must be built.
        reason: Why it must be built; one clause.
    """

    plan: bytes | None
    reason: str = ""


class EngineCache:
    """A folder of engines; made when first written to.

    Args:
        folder: Of this machine and user alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, fingerprint: Fingerprint) -> Found:
        """Return the engine of a fingerprint, or why there is none that may be loaded."""
        plan_path, record_path = self._paths(fingerprint.slot)
        try:
            record = json.loads(record_path.read_bytes())
            plan = plan_path.read_bytes()
        except FileNotFoundError:
            return Found(plan=None, reason="none was built yet")
        except (OSError, ValueError, RecursionError) as error:
            return Found(plan=None, reason=f"the kept one cannot be read ({type(error).__name__})")
        if not isinstance(record, dict) or not isinstance(record.get("fingerprint"), dict):
            return Found(plan=None, reason="the kept one has no record")
        code = _code(self._secret(create=False), record["fingerprint"], plan)
        if not hmac.compare_digest(code, str(record.get("code"))):
            return Found(plan=None, reason="the kept one was not made here, or was altered")
        now, then = dataclasses.asdict(fingerprint), record["fingerprint"]
        changed = [name for name in now if now[name] != then.get(name)]
        if changed:
            name = changed[0]
            return Found(plan=None, reason=f"{_WORDS[name]} changed from {then.get(name)} to {now[name]}")
        with contextlib.suppress(OSError):  # a read-only folder serves as well
            os.utime(record_path)
        return Found(plan=plan)

    def keep(self, fingerprint: Fingerprint, plan: bytes, evidence: dict[str, Any]) -> None:
        """Write an engine and its record, whole or not at all.

        Raises:
            BackendError: The disk is full or not writable; what was kept before is untouched.
        """
        plan_path, record_path = self._paths(fingerprint.slot)
        mapping = dataclasses.asdict(fingerprint)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            code = _code(self._secret(create=True), mapping, plan)
            record = {"fingerprint": mapping, "code": code, "evidence": evidence}
            durable.write_whole(plan_path, plan, mode=durable.PRIVATE)
            durable.write_whole(record_path, json.dumps(record, indent=1).encode(), mode=durable.PRIVATE)
        except OSError as error:
            raise disk_error(error, self.folder) from error
        self._forget_old()

    def timing(self, compiler: str) -> Path:
        """Return where the vendor's timing cache of a release is kept."""
        return self.folder / f"timing-{hashlib.sha256(compiler.encode()).hexdigest()[:12]}.cache"

    def keep_timing(self, compiler: str, data: bytes) -> None:
        """Write the vendor's timing cache; it is read by the builder alone and only saves time.

        Raises:
            BackendError: The disk is full or not writable.
        """
        try:
            durable.write_whole(self.timing(compiler), data, mode=durable.PRIVATE)
        except OSError as error:
            raise disk_error(error, self.folder) from error

    @contextlib.contextmanager
    def building(self, *, wait_s: float) -> Iterator[None]:
        """Hold the folder for one build at a time; what a killed build left is removed first.

        Raises:
            BackendError: Another process still builds after `wait_s`, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = locks.open_lock(self.folder / "lock")
        except OSError as error:
            raise disk_error(error, self.folder) from error
        try:
            _lock(descriptor, self.folder, wait_s)
            for left in self.folder.glob("*.part"):
                left.unlink(missing_ok=True)
            for left in self.folder.glob(f"{WORK_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)  # and with it the lock, also when the process dies

    def _paths(self, slot: str) -> tuple[Path, Path]:
        return self.folder / f"{slot}.plan", self.folder / f"{slot}.json"

    def _secret(self, *, create: bool) -> bytes:
        """Return this folder's secret; a new one makes every kept engine foreign."""
        path = self.folder / KEY_FILE
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if not create:
                return secrets.token_bytes(32)
            durable.write_whole(path, secrets.token_bytes(32), mode=durable.PRIVATE)
            return path.read_bytes()
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                got = f"owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):o}"
                raise BackendError(f"{path}", "this user's own and private", got, fix=f"rm {path}; engines are rebuilt")
            return file.read()

    def _forget_old(self) -> None:
        """Keep the engines used last."""
        records = [path for path in self.folder.glob("*.json") if path.with_suffix(".plan").exists()]
        for path in sorted(records, key=lambda p: p.stat().st_mtime_ns, reverse=True)[KEPT_ENGINES:]:
            path.unlink(missing_ok=True)
            path.with_suffix(".plan").unlink(missing_ok=True)


def default_folder(flavour: str) -> Path:
    """Return where engines are kept if nobody says: below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgetl" / flavour


def _code(secret: bytes, fingerprint: dict[str, Any], plan: bytes) -> str:
    words = json.dumps([fingerprint, hashlib.sha256(plan).hexdigest()], sort_keys=True)
    return hmac.new(secret, words.encode(), hashlib.sha256).hexdigest()


def _lock(descriptor: int, folder: Path, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while not locks.try_lock(descriptor):
        if time.monotonic() > until:
            got, fix = f"another build for {wait_s:g} s", "wait for it, or end it"
            raise BackendError(f"the folder of the engines {folder}", "free", got, fix=fix)
        time.sleep(0.05)
