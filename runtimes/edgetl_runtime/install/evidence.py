"""Where a station's images go: each into exactly one folder, never before its verdict is on record, over no other file.

    decisions.jsonl          one line for each decision, durable before the image moves
    OK/ NOK/ UNSURE/ FAULT/  the images; FAULT holds what could not be decided
    FAULT/quarantine/        what ended the service twice while it was being decided
    .deciding .parts/ .lock  which image is in hand, copies under way, the service whose folder this is

An image is noted before it is decided (`intend`), its verdict logged (`record`), then it moves (`move`). Whichever of
these is cut off, `unfinished` finds at the next start how far it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import errno
import json
import logging
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime import locks
from edgetl_runtime.errors import BusyError, UsageError
from edgetl_runtime.image_files import is_image_name
from edgetl_runtime.install.disk import Disk

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

FAULT = "FAULT"
QUARANTINE = "FAULT/quarantine"
TRIES = 2
MAX_IMAGE_BYTES = 2**30
_MAX_INTENTS_BYTES = 2**16
_MAX_NAME_BYTES = 255
_TAIL_BYTES = 2**16
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_RENAME = (errno.EXDEV, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EBUSY)
_NO_NAME = (errno.EEXIST, errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)  # as file systems of sticks say it
_logger = logging.getLogger(__name__)

Mark = tuple[int, int, int]  # inode, bytes, time of change in ns: says whether a name still is the file that was read


class NoPlaceError(Exception):
    """An image cannot have the name that was chosen: somebody took it, or the file system knows no such names."""


class ImageLeftError(Exception):
    """The evidence is in place, but the image could not be taken out of the folder in which it arrived."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An image that arrived.

    Attributes:
        path: Where it arrived.
        mark: Of the file that was read.
        data: Its bytes; None if they cannot be read.
        fault: Why not; empty if they can.
        id: Of this decision, in its line too.
        tries: How often it was in hand, this time included.
        file: Where it goes, below the folder of results, if its verdict is on record already.
    """

    path: Path
    mark: Mark
    data: bytes | None
    fault: str = ""
    id: str = dataclasses.field(default_factory=lambda: secrets.token_hex(6))
    tries: int = 1
    file: str | None = None


class Evidence:
    """The folder of a station's results; a context manager.

    Args:
        images: In which images arrive, complete: written under another name and renamed.
        out: For results; on any file system.
        disk: Changes it; tests give their own.
    """

    def __init__(self, images: Path, out: Path, *, disk: Disk | None = None) -> None:
        self.images = images
        self.out = out
        self._disk = disk or Disk()
        self._log = out / "decisions.jsonl"
        self._intents = out / ".deciding"
        self._parts = out / ".parts"
        self._lock = -1

    def open(self) -> Self:
        """Take the folders, mend what a power cut tore.

        Raises:
            UsageError: Images could not be taken out of the one folder or put into the other.
            BusyError: Another service writes there.
        """
        if not self.images.is_dir():
            raise UsageError(f"--images {self.images}", "a folder", "none", fix=f"mkdir -p {self.images}")
        if self.out.resolve() in self.images.resolve().parents:
            raise UsageError("--images", "outside --out", f"{self.images}", fix="two folders beside each other")
        for name in (FAULT, QUARANTINE, ".parts"):
            self._disk.make_folder(self.out / name)
        for option, folder in (("--images", self.images), ("--out", self.out)):
            if not os.access(folder, os.W_OK | os.X_OK):
                fix = f"chown it to the service's user, uid {os.geteuid()}"
                raise UsageError(f"{option} {folder}", "writable: images move", "a folder that is not", fix=fix)
        self._lock = locks.open_lock(self.out / ".lock")
        if not locks.try_lock(self._lock):
            self.close()
            raise BusyError(f"{self.out}", "of one service", "another's", fix="systemctl stop edgetl")
        try:
            self._mend()
            for path in self._parts.iterdir():
                self._disk.remove(path)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Give the folder back; calling twice is harmless."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def arrived(self) -> tuple[list[Path], list[str]]:
        """Return the images that wait, by name, and the names that end like an image's but are no plain files.

        Raises:
            OSError: The folder is gone or cannot be read.
        """
        images, strange = [], []
        with os.scandir(self.images) as entries:
            for entry in entries:
                if is_image_name(Path(entry.name)):
                    if entry.is_file(follow_symlinks=False):
                        images.append(Path(entry.path))
                    else:
                        strange.append(entry.name)
        if not images and self.images.stat().st_nlink == 0:  # removed, though this process still has it mounted
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.images))
        return sorted(images), sorted(strange)

    def read(self, path: Path) -> Part | None:
        """Read an image, which is durable from then on; None if it is gone, or no plain file any more."""
        mark = mark_of(path)
        if mark is None:
            return None
        try:
            descriptor = os.open(path, _OPEN)
        except FileNotFoundError:
            return None
        except OSError as error:
            return None if error.errno == errno.ELOOP else _unreadable(path, mark, error.strerror or str(error))
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return None
            mark = _mark(found)
            if found.st_size > MAX_IMAGE_BYTES:
                return _unreadable(path, mark, f"{found.st_size} bytes, more than {MAX_IMAGE_BYTES}")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_IMAGE_BYTES)
            self._disk.sync(descriptor, path)  # else a power cut could leave a verdict whose image is empty
            return Part(path=path, mark=mark, data=data)
        except OSError as error:
            return _unreadable(path, mark, error.strerror or str(error))
        finally:
            os.close(descriptor)

    def intend(self, part: Part) -> None:
        """Note durably that an image is in hand."""
        if self._intents.exists() and self._intents.stat().st_size > _MAX_INTENTS_BYTES:
            self._disk.truncate(self._intents, 0)
        name = os.fsencode(part.path.name).hex()
        note = {"id": part.id, "image_hex": name, "mark": part.mark, "tries": part.tries}
        self._append(self._intents, json.dumps(note))

    def withdraw(self) -> None:
        """Take the note back: the service stops in order, and that is not the image's fault."""
        with contextlib.suppress(OSError):
            self._disk.truncate(self._intents, 0)

    def unfinished(self) -> Part | None:
        """Return the image that was in hand when the service ended, None if there is none or it is gone."""
        note = _last(self._intents)
        try:
            path = self.images / os.fsdecode(bytes.fromhex(note["image_hex"]))
            mark, tries = tuple(note["mark"]), int(note["tries"])
        except (KeyError, TypeError, ValueError):
            return None
        entry = _last(self._log)
        logged = entry.get("id") == note["id"]
        if mark_of(path) != mark:
            if logged and not os.path.lexists(self.out / str(entry["file"])):
                _logger.error("%s is on record, but its image is gone", entry["file"])
            return None
        part = self.read(path)
        if part is None or part.mark != mark:
            return None
        file = str(entry["file"]) if logged else None
        return dataclasses.replace(part, id=note["id"], tries=tries + (not logged), file=file)

    def place(self, folder: str, part: Part) -> str:
        """Return a free name for an image below the folder of results: its own, with the time where that is taken.

        Args:
            folder: A verdict, or the quarantine.
            part: To move there.
        """
        self._disk.make_folder(self.out / folder)
        torn = any("\udc80" <= letter <= "\udcff" for letter in part.path.name)
        name = printable(part.path.name).replace("\\", "%") if torn else part.path.name
        suffix = Path(name).suffix
        stem = name.removesuffix(suffix)
        found = _fitted(stem, suffix)
        while os.path.lexists(self.out / folder / found):
            moment = dt.datetime.now(dt.timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
            found = _fitted(stem, f".{moment}-{secrets.token_hex(2)}{suffix}")
        return f"{folder}/{found}"

    def plain_place(self, folder: str, part: Part) -> str:
        """Return a name that every file system takes, for an image whose own was refused."""
        return f"{folder}/{part.id}-{secrets.token_hex(2)}{part.path.suffix.lower()}"

    def record(self, line: str) -> None:
        """Append a line to the log, durably, whole or not at all."""
        self._append(self._log, line)

    def move(self, part: Part, file: str) -> None:
        """Move an image to its place, durably; across file systems by a copy of the bytes that were decided on.

        Called again after an error or a cut, it goes on.

        Raises:
            NoPlaceError: It needs another name.
            ImageLeftError: The evidence is there, but the image cannot be removed where it arrived.
            OSError: The disk refuses; nothing is lost.
        """
        target = self.out / file
        here = mark_of(part.path) == part.mark
        if os.path.lexists(target):
            if not _holds(target, part):
                raise NoPlaceError(os.strerror(errno.EEXIST))
        else:
            try:
                self._disk.make_folder(target.parent)
                if here and self._renamed(part.path, target):
                    return
                self._copy(part, target)
            except OSError as error:
                if error.errno in _NO_NAME:
                    raise NoPlaceError(error.strerror) from error
                raise
        if here:
            try:
                self._disk.remove(part.path)
                self._disk.sync_folder(self.images)
            except OSError as error:
                raise ImageLeftError(error.strerror) from error

    def _renamed(self, path: Path, target: Path) -> bool:
        try:
            self._disk.move(path, target)
        except OSError as error:
            if error.errno not in _NO_RENAME:
                raise
            return False
        return True

    def _copy(self, part: Part, target: Path) -> None:
        if part.data is None:
            raise ImageLeftError(part.fault)
        copy = self._parts / part.id
        self._disk.make_folder(self._parts)
        self._disk.remove(copy)
        self._disk.create(copy, [part.data])
        self._disk.move(copy, target)

    def _append(self, path: Path, line: str) -> None:
        if not path.exists():  # rotated away
            self._disk.create(path, [])
            self._disk.sync_folder(self.out)
        size = path.stat().st_size
        try:
            self._disk.append(path, line.encode() + b"\n")
        except OSError:
            with contextlib.suppress(OSError):  # a line that is not whole is no line
                self._disk.truncate(path, size)
            raise

    def _mend(self) -> None:
        """Cut off a line that is not whole: its image did not move."""
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - _TAIL_BYTES)
            file.seek(start)
            tail = file.read()
        whole = tail
        while whole and _entry(whole[whole.rfind(b"\n", 0, -1) + 1 :]) is None:
            whole = whole[: whole.rfind(b"\n", 0, -1) + 1]
        if len(whole) != len(tail):
            self._disk.truncate(self._log, start + len(whole))


def printable(name: str) -> str:
    r"""Return a file's name as text: bytes that are not UTF-8 become `\xff`.

    Example:
        >>> printable("caf\udce9.png")
        'caf\\xe9.png'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def mark_of(path: Path) -> Mark | None:
    """Return which file has a name now; None if there is none, or no plain file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return _mark(found) if stat.S_ISREG(found.st_mode) else None


def _mark(found: os.stat_result) -> Mark:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _unreadable(path: Path, mark: Mark, why: str) -> Part:
    return Part(path=path, mark=mark, data=None, fault=why)


def _fitted(stem: str, end: str) -> str:
    """Return a name no longer than file systems take."""
    room = _MAX_NAME_BYTES - len(end.encode())
    return stem.encode()[:room].decode(errors="ignore") + end


def _holds(target: Path, part: Part) -> bool:
    """Whether a file is the evidence of an image: whole, because it got its name last."""
    if part.data is None or not stat.S_ISREG(target.lstat().st_mode):
        return False
    return target.stat().st_size == len(part.data) and target.read_bytes() == part.data


def _entry(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        found = json.loads(line)  # not strictly: an inode's number may have all of its 64 bits
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _last(path: Path) -> dict[str, Any]:
    """Return the last whole line of a file, empty if there is none."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().splitlines(keepends=True)
    return next((found for line in reversed(lines) if (found := _entry(line)) is not None), {})
