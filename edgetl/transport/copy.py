"""Copies to and from a device: resumed where they stopped, verified by SHA-256, renamed into place when whole.

Unfinished bytes wait beside their target under a name that holds their digest, so only the same content is ever
resumed. Blocks are written at their offset: what a dying session still writes does no harm to the next one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import random
import select
import signal
import time
from typing import TYPE_CHECKING, BinaryIO, cast

from edgetl.errors import ConnectionLostError, HostUnreachableError, RemoteError, TransportError
from edgetl.transport.ssh import SSH_FAILED
from edgetl_runtime import durable
from edgetl_runtime.children import Tail
from edgetl_runtime.errors import UsageError, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgetl.transport.ssh import Remote

BLOCK_BYTES = 256 * 1024
STALL_S = 30.0  # without one byte moving the connection counts as lost
CHECK_S = 600.0  # hashing a large file on slow storage
ENDED = (SSH_FAILED, 128 + signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGHUP)
RESERVE_BYTES = 16 * 2**20
FIRST_DELAY_S = 0.5
# Each script is the body of a function, so that a script cut short does nothing; `$1` and so on are its arguments.
PREPARE = """
target=$1; part=$2; digest=$3; size=$4
folder=$(dirname -- "$target"); mkdir -p -- "$folder" || return 1
if [ -f "$target" ] && [ "$(wc -c <"$target")" -eq "$size" ] && [ "$(sha256sum <"$target" | cut -c1-64)" = "$digest" ]
then echo same; return 0; fi
if [ -L "$part" ]; then rm -f -- "$part"; fi
have=0; if [ -f "$part" ]; then have=$(wc -c <"$part"); fi
echo part "$have" "$(df -Pk -- "$folder" | awk 'NR == 2 { print $4 }')"
"""
FINISH = """
part=$1; target=$2; digest=$3
if [ "$(sha256sum <"$part" | cut -c1-64)" != "$digest" ]; then rm -f -- "$part"; echo differs; return 0; fi
mv -f -- "$part" "$target" && { sync -- "$(dirname -- "$target")" 2>/dev/null || sync; } && echo done
"""
DESCRIBE = """
[ -f "$1" ] || { echo absent; return 0; }
echo file "$(wc -c <"$1")" "$(sha256sum <"$1" | cut -c1-64)"
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A finished copy.

    Attributes:
        path: Where it is now.
        sha256: Of its content, computed on both sides.
        size_bytes: Of the whole.
        moved_bytes: That went over the wire in this call; 0 if the same file was there already.
        interruptions: Connections lost on the way.
        seconds: Wall time, hashing included.
    """

    path: str
    sha256: str
    size_bytes: int
    moved_bytes: int
    interruptions: int
    seconds: float


def send(
    remote: Remote,
    source: Path,
    target: str,
    *,
    advance: Callable[[int, int], None] | None = None,
    attempts: int = 4,
) -> Copied:
    """Copy a file to the device.

    Args:
        remote: The connection; made anew where it is lost.
        source: A regular file here.
        target: Path there, relative to the login's home or absolute; its folder is made.
        advance: Called with (bytes there, bytes in all).
        attempts: Connections to use up before giving up; what was sent stays for the next call.

    Raises:
        UsageError: The source is not a readable file.
        RemoteError: The device has no room, or the folder may not be written.
        TransportError: The bytes arrived altered twice.
        ConnectionLostError: All attempts were lost.

    Example:
        >>> send(remote, Path("part.edgetl"), "incoming/part.edgetl").moved_bytes  # doctest: +SKIP
        4718592
    """
    started = time.monotonic()
    size, digest = _describe_here(source)
    part = f"{target}.{digest[:16]}.part"
    progress = _Progress(size, advance)

    def once() -> bool:
        answer = _script(remote, PREPARE, target, part, digest, str(size))
        if answer[0] == "same":
            progress.at(size)
            return True
        have, free = int(answer[1]), int(answer[2]) * 1024
        have = have if have <= size else 0
        if free < size - have + RESERVE_BYTES:
            got = f"{free / 1e6:.0f} MB free at {target}"
            what = f"the disk of {remote.address}"
            raise RemoteError(
                what,
                f"large enough for {(size - have) / 1e6:.1f} MB more",
                got,
                fix=f"df -h {target} there, and free some space",
            )
        progress.at(have)
        _push(remote, source, part, have, progress)
        return _script(remote, FINISH, part, target, digest)[0] == "done"

    interruptions = _persist(remote, once, attempts, f"the copy of {source.name} to {remote.address}", progress)
    return progress.copied(target, digest, interruptions, started)


def fetch(
    remote: Remote,
    source: str,
    target: Path,
    *,
    advance: Callable[[int, int], None] | None = None,
    attempts: int = 4,
) -> Copied:
    """Copy a file from the device; as `send`, the other way round.

    Raises:
        RemoteError: There is no such file, or it keeps changing.
        ConnectionLostError: All attempts were lost.

    Example:
        >>> fetch(remote, "bench/record.json", Path("record.json")).path  # doctest: +SKIP
        'record.json'
    """
    started = time.monotonic()
    progress = _Progress(0, advance)
    digest = ""

    def once() -> bool:
        nonlocal digest
        answer = _script(remote, DESCRIBE, source, must="readable")
        if answer[0] != "file":
            raise RemoteError(
                f"{source} on {remote.address}",
                "a readable file",
                "none",
                fix=f"ssh {remote.address.destination} ls -l {source}",
            )
        progress.total, digest = int(answer[1]), answer[2]
        part = target.with_name(f"{target.name}.{digest[:16]}.part")
        have = part.stat().st_size if part.is_file() and part.stat().st_size <= progress.total else 0
        progress.at(have)
        _pull(remote, source, part, have, progress)
        if part.stat().st_size < progress.total:
            raise remote.lost("the end of a session before the end of the file")
        if _digest(part) != digest:
            part.unlink()
            return False
        durable.move(part, target)
        return True

    interruptions = _persist(remote, once, attempts, f"the copy of {source} from {remote.address}", progress)
    return progress.copied(str(target), digest, interruptions, started)


class _Progress:
    """How far a copy is."""

    def __init__(self, total: int, advance: Callable[[int, int], None] | None) -> None:
        self.total, self.done, self.moved = total, 0, 0
        self._advance = advance

    def at(self, offset: int) -> None:
        self.done = offset
        if self._advance is not None:
            self._advance(self.done, self.total)

    def move(self, count: int) -> None:
        self.moved += count
        self.at(self.done + count)

    def copied(self, path: str, digest: str, interruptions: int, started: float) -> Copied:
        return Copied(
            path=path,
            sha256=digest,
            size_bytes=self.total,
            moved_bytes=self.moved,
            interruptions=interruptions,
            seconds=time.monotonic() - started,
        )


def _persist(remote: Remote, once: Callable[[], bool], attempts: int, what: str, progress: _Progress) -> int:
    """Call `once` until it returns True; count lost connections. Refusals are never tried again."""
    interruptions = altered = 0
    while True:
        try:
            if interruptions:
                remote.reconnect()
            if once():
                return interruptions
        except (ConnectionLostError, HostUnreachableError) as error:
            interruptions += 1
            if interruptions >= attempts:
                sent = f"{progress.done / 1e6:.1f} of {progress.total / 1e6:.1f} MB"
                got = f"{sent} after {interruptions} lost connections ({error.got})"
                fix = "the same command again: it goes on from there"
                raise ConnectionLostError(what, "whole", got, fix=fix) from error
            delay_s = FIRST_DELAY_S * 2 ** (interruptions - 1)
            time.sleep(delay_s * random.uniform(0.5, 1.5))  # noqa: S311  (spreads retries; no secret)
        else:
            altered += 1
            if altered > 1:
                got = "other content, twice"
                raise TransportError(what, "equal on both sides", got, fix="check the disks and memory of both sides")


def _script(remote: Remote, body: str, *arguments: str, must: str = "writable") -> list[str]:
    """Run a script there and return the words of its last line."""
    text = f'edgetl() {{\n{body}\n}}\nedgetl "$@"\n'
    done = remote.run(["sh", "-s", "--", *arguments], limit_s=CHECK_S, stdin=text.encode(), check=False)
    words = (done.stdout.splitlines() or [""])[-1].split()  # a login shell may print before
    _require_success(remote, done.code or (0 if words else 1), arguments[0], must, done.stderr)
    return words


def _push(remote: Remote, source: Path, part: str, offset: int, progress: _Progress) -> None:
    command = ["dd", f"of={part}", "bs=65536", "iflag=fullblock", "oflag=seek_bytes", f"seek={offset}"]
    with remote.session([*command, "conv=notrunc,fsync", "status=none"]) as process, source.open("rb") as file:
        file.seek(offset)
        pipe, said, _ = process.stdin, Tail(process.stderr), Tail(process.stdout)
        if pipe is None:
            raise remote.lost("no pipe to ssh")
        os.set_blocking(pipe.fileno(), False)
        try:
            while block := file.read(BLOCK_BYTES):
                view = memoryview(block)
                while view:
                    if not select.select([], [pipe], [], STALL_S)[1]:
                        raise remote.lost(f"no byte taken in {STALL_S:.0f} s")
                    count = os.write(pipe.fileno(), view)
                    view = view[count:]
                    progress.move(count)
            pipe.close()
        except BrokenPipeError:
            pass  # dd or the connection has ended; why is said below
        process.wait()
        words = said.text()
    _require_success(remote, process.returncode, part, "writable", words)


def _pull(remote: Remote, source: str, part: Path, offset: int, progress: _Progress) -> None:
    with remote.session(["tail", "-c", f"+{offset + 1}", "--", source]) as process, _opened(part) as file:
        pipe, said = process.stdout, Tail(process.stderr)
        if pipe is None:
            raise remote.lost("no pipe from ssh")
        file_offset = offset
        while True:
            if not select.select([pipe], [], [], STALL_S)[0]:
                raise remote.lost(f"no byte came in {STALL_S:.0f} s")
            block = os.read(pipe.fileno(), BLOCK_BYTES)
            if not block:
                break
            file_offset += os.pwrite(file.fileno(), block, file_offset)
            progress.move(len(block))
        file.truncate(file_offset)
        durable.sync(file)
        process.wait()
        words = said.text()
    _require_success(remote, process.returncode, source, "readable", words)


def _require_success(remote: Remote, code: int, path: str, must: str, words: str) -> None:
    """Raise for a copying command that failed by itself (a refusal) or was ended (worth another try)."""
    if code in ENDED:
        raise remote.lost(f"a session that was ended (exit {code})")
    if code != 0:
        line = next((line for line in reversed(words.splitlines()) if line.strip()), f"exit {code}")
        fix = f"free some space on {remote.address}, or choose another folder"
        raise RemoteError(f"{path} on {remote.address}", must, line.strip()[:300], fix=fix)


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[BinaryIO]:
    part.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        yield cast("BinaryIO", file)


def _describe_here(path: Path) -> tuple[int, str]:
    try:
        if not path.is_file():
            got = "a folder" if path.is_dir() else "nothing there"
            raise UsageError(str(path), "a file", got, fix=f"correct the path; ls -ld {path}")
        return path.stat().st_size, _digest(path)
    except OSError as error:
        raise unreadable(UsageError, str(path), error, path=path) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
