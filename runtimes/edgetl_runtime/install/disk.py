"""Durable changes of the file system, one call each: what returned has survived a power cut.

Rules: a file is created under a name nobody reads, written, synced, renamed; the folder is synced after the rename.
Tests replace the methods with a leading underscore to record, forget or interrupt every single step.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Disk:
    """The real file system."""

    def make_folder(self, path: Path, *, mode: int = 0o755) -> None:
        """Create a folder, and the missing ones above it, durably; harmless where it exists."""
        if path.is_dir():
            return
        if not path.parent.is_dir():
            self.make_folder(path.parent, mode=mode)
        with contextlib.suppress(FileExistsError):
            self._mkdir(path, mode)
        self.sync_folder(path.parent)

    def make_scratch(self, path: Path) -> None:
        """Create a folder that need not survive: recovery would remove it."""
        self._mkdir(path, 0o755)

    def create(self, path: Path, chunks: Iterable[bytes], *, mode: int = 0o644) -> None:
        """Create a file and sync its content; its name is durable once its folder is synced."""
        descriptor = self._create(path, mode)
        try:
            for chunk in chunks:
                self._write(descriptor, path, chunk)
            self._fsync(descriptor, path)
        finally:
            os.close(descriptor)

    def replace(self, path: Path, data: bytes, *, mode: int = 0o644) -> None:
        """Write a small file whole, or leave the old one; durable on return."""
        temporary = path.with_name(path.name + ".tmp")
        self.remove(temporary)
        self.create(temporary, [data], mode=mode)
        self._rename(temporary, path)
        self.sync_folder(path.parent)

    def move(self, source: Path, target: Path) -> None:
        """Rename a file or folder into another folder; durable on return."""
        self._rename(source, target)
        self.sync_folder(target.parent)

    def point(self, link: Path, target: str) -> None:
        """Let a symbolic link point to `target`, without a moment in which it points nowhere; durable on return."""
        temporary = link.with_name(link.name + ".tmp")
        self.remove(temporary)
        self._symlink(target, temporary)
        self._rename(temporary, link)
        self.sync_folder(link.parent)

    def append(self, path: Path, data: bytes) -> None:
        """Append to a file that exists and sync it."""
        descriptor = os.open(path, _APPEND)
        try:
            self._write(descriptor, path, data)
            self._fsync(descriptor, path)
        finally:
            os.close(descriptor)

    def sync(self, descriptor: int, path: Path) -> None:
        """Make the content of an open file durable, whoever wrote it."""
        self._fsync(descriptor, path)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to `size` bytes and sync it."""
        descriptor = os.open(path, _APPEND)
        try:
            self._truncate(descriptor, path, size)
            self._fsync(descriptor, path)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file, link or whole folder; harmless where there is none. Not synced: recovery removes it again."""
        if path.is_symlink() or path.is_file():
            self._unlink(path)
        elif path.is_dir():
            for inside in sorted(path.iterdir()):
                self.remove(inside)
            self._rmdir(path)
        elif os.path.lexists(path):  # a pipe or device somebody put there
            self._unlink(path)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._fsync_folder(descriptor, path)
        finally:
            os.close(descriptor)

    def _create(self, path: Path, mode: int) -> int:
        return os.open(path, _NEW, mode)

    def _write(self, descriptor: int, path: Path, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]

    def _truncate(self, descriptor: int, path: Path, size: int) -> None:
        os.ftruncate(descriptor, size)

    def _fsync(self, descriptor: int, path: Path) -> None:
        os.fsync(descriptor)

    def _fsync_folder(self, descriptor: int, path: Path) -> None:
        os.fsync(descriptor)

    def _mkdir(self, path: Path, mode: int) -> None:
        path.mkdir(mode=mode)

    def _rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def _symlink(self, target: str, link: Path) -> None:
        link.symlink_to(target)

    def _unlink(self, path: Path) -> None:
        path.unlink()

    def _rmdir(self, path: Path) -> None:
        path.rmdir()
