"""Locks between processes: they belong to an open file, end with the process that holds it, and are seen untaken.

Open file description locks instead of `flock`: the kernel says who holds one without lending it to the one who asks,
so that looking never makes another's attempt fail. The files are their owner's alone: whoever can open a lock can hold
it, and with it the device.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = 0o600
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux: type, whence, start, length, process


def open_lock(path: Path) -> int:
    """Open the file of a lock, made where it is missing; nobody but its owner may open it afterwards.

    Returns:
        A descriptor, not inherited by programs; whoever closes it gives the lock back.

    Raises:
        OSError: It cannot be opened, or is a link.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    found = os.fstat(descriptor)
    if stat.S_IMODE(found.st_mode) & ~PRIVATE and found.st_uid == os.geteuid():
        os.fchmod(descriptor, PRIVATE)  # one of an older release, or made beneath a wider mask
    return descriptor


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file at once, `shared` beside others that share it; False if another holds it."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_RDLCK if shared else fcntl.F_WRLCK))
    except BlockingIOError:
        return False
    return True


def wait_lock(descriptor: int) -> None:
    """Take the lock of an open file as soon as nobody else holds it."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, _request())


def holder(path: Path) -> str | None:
    """Return what the holder of a lock wrote into its file, empty if nothing; None if nobody holds it.

    Raises:
        PermissionError: The file is another user's: nothing is known.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _request())
        if _FLOCK.unpack(answer)[0] == fcntl.F_UNLCK:
            return None
        return os.pread(descriptor, 100, 0).decode(errors="replace")
    finally:
        os.close(descriptor)


def _request(kind: int = fcntl.F_WRLCK) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)  # the whole file
