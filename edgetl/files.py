"""Files that are written whole or not at all, and folders that one process holds while it works in them.

A lock is a file that is locked, not a file that exists: a killed process leaves nothing that would block the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
from typing import TYPE_CHECKING

from edgetl.errors import InUseError
from edgetl_runtime import durable
from edgetl_runtime.errors import UsageError
from edgetl_runtime.locks import open_lock, try_lock, wait_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".edgetl.lock"
CHANGE_LOCK = ".edgetl.change.lock"


def write_whole(path: Path, data: bytes) -> str:
    """Write a file durably, or leave the old one; return the SHA-256 of `data`."""
    durable.write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def taken(folder: Path, who: str) -> Iterator[None]:
    """Hold a folder for this process alone; it is made first, and removed at the end if nothing was put into it.

    Args:
        folder: Where the work is done.
        who: What the process does; told to those who come later.

    Raises:
        InUseError: Another process works in it; said at once.
        UsageError: The path is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}", "a folder", "something else", fix="choose another name")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with _held(folder / LOCK, who, what=f"the folder {folder}", make=True):
            yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it is not empty: the work was done
                path.rmdir()


@contextlib.contextmanager
def reading(folder: Path, who: str) -> Iterator[None]:
    """Keep a folder from being replaced while this process reads it; others may read it too.

    Args:
        folder: Where it does not exist there is nothing to be kept.
        who: What the process does; told to those who want to replace it.

    Raises:
        InUseError: Another process writes it; said at once.
    """
    if not folder.is_dir():
        yield
        return
    with _held(folder / LOCK, who, what=f"the folder {folder}", shared=True):
        yield


@contextlib.contextmanager
def file_taken(path: Path, who: str) -> Iterator[None]:
    """Hold the name of a file that is going to be written; its folder must exist.

    Raises:
        InUseError: Another process is writing it; said at once.
    """
    with _held(path.with_name(f".{path.name}.lock"), who, what=f"the file {path}"):
        yield


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Hold the right to change files of a folder that several processes work in; wait for the others' changes."""
    with _held(folder / CHANGE_LOCK, "", what=f"the folder {folder}", wait=True):
        yield


def contents(folder: Path) -> list[Path]:
    """Return what lies in a folder, locks aside."""
    return sorted(path for path in folder.iterdir() if path.name not in (LOCK, CHANGE_LOCK))


def clear(folder: Path, *, keep: str = "") -> None:
    """Remove what lies in a folder that this process holds, but for the file called `keep`; folders go first."""
    for path in sorted(contents(folder), key=lambda path: not path.is_dir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != keep:
            path.unlink()


@contextlib.contextmanager
def _held(
    lock: Path, who: str, *, what: str, make: bool = False, shared: bool = False, wait: bool = False
) -> Iterator[None]:
    descriptor = _lock(lock, what=what, make=make, shared=shared, wait=wait)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{who} (process {os.getpid()} on {platform.node()})".encode(), 0)
        yield
    finally:
        if try_lock(descriptor) and _is_at(lock, descriptor):  # else others read on: the last one tidies up
            lock.unlink()
        os.close(descriptor)


def _lock(lock: Path, *, what: str, make: bool, shared: bool, wait: bool) -> int:
    """Return the open and locked file; whoever held it before may have removed it, then another one is made."""
    while True:
        if make:
            lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = open_lock(lock)
        except FileNotFoundError:  # the folder was tidied away by a start that failed
            if make:
                continue
            raise
        if wait:
            wait_lock(descriptor)
        elif not try_lock(descriptor, shared=shared):
            holder = os.pread(descriptor, 300, 0).decode(errors="replace") or "another process"
            os.close(descriptor)
            fix = "wait for its end, or choose another name"
            raise InUseError(what, "free", f"{holder} at work there", fix=fix)
        if _is_at(lock, descriptor):
            return descriptor
        os.close(descriptor)


def _is_at(lock: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(lock.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
