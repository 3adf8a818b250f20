"""Files that are there whole or not at all, and survive a power cut: the one place that syncs and renames.

A file is written under a name of this process's own, synced and renamed; then its folder is synced. A device's state
goes through `install.disk`, which keeps the same rule in steps that tests can interrupt.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE = 0o600
_USUAL = 0o666  # less what the process's umask takes away
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


@contextlib.contextmanager
def whole(path: Path, *, mode: int = _USUAL) -> Iterator[BinaryIO]:
    """Give a new file that takes the place of `path` at the end; if that is never reached, the old one stays.

    Args:
        path: To be written; its folder must exist.
        mode: Of the file.

    Raises:
        OSError: The disk is full or not writable; nothing is left behind.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "x"
        >>> with whole(path) as file:
        ...     _ = file.write(b"new")
        >>> path.read_bytes()
        b'new'
    """
    partial = path.with_name(f".edgetl-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with _created(partial, mode) as file:
            yield file
            sync(file)
        move(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, *, mode: int = _USUAL) -> None:
    """Write a file, or leave the old one; durable on return. Raises as `whole` does."""
    with whole(path, mode=mode) as file:
        file.write(data)


def write_new(path: Path, data: bytes, *, mode: int = _USUAL) -> None:
    """Write a file that does not exist yet; durable on return.

    Raises:
        FileExistsError: It exists, and stays as it is.
    """
    with _created(path, mode) as file:
        file.write(data)
        sync(file)
    sync_folder(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename a synced file, replacing what had the name; durable on return."""
    source.replace(target)
    sync_folder(target.parent)


def sync(file: BinaryIO) -> None:
    """Make the content of an open file durable."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _created(path: Path, mode: int) -> BinaryIO:
    return open(path, "w+b", opener=lambda name, _: os.open(name, _NEW, mode))
