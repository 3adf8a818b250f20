"""Copies, against a real sshd: whole or resumable, never altered."""

from __future__ import annotations

import hashlib
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from edgetl.errors import ConnectionLostError, RemoteError, TransportError
from edgetl.transport import copy, fetch, send
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

# what ssh keeps on its way (some 2 MB) is less than half of it
SIZE_BYTES = 12 * 2**20 + 123


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / "a part.edgetl"
    path.write_bytes(random.Random(0).randbytes(SIZE_BYTES))
    return path


class CutAt:
    """Kills the server's sessions once, when so many bytes are there; remembers what it was told."""

    def __init__(self, server, fraction: float, times: int = 1) -> None:
        self.server, self.fraction, self.left = server, fraction, times
        self.seen: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))
        if self.left and done >= self.fraction * total and (done or not self.fraction):
            self.left -= 1
            self.server.cut()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(copy, "FIRST_DELAY_S", 0.05)


def test_send_copies_and_proves_the_digest(remote, source, tmp_path):
    target = tmp_path / "new folder" / "it's here"
    seen: list[tuple[int, int]] = []
    copied = send(remote, source, str(target), advance=lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == source.read_bytes()
    assert copied.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (copied.moved_bytes, copied.size_bytes, copied.interruptions) == (SIZE_BYTES, SIZE_BYTES, 0)
    assert seen[0] == (0, SIZE_BYTES)
    assert seen[-1] == (SIZE_BYTES, SIZE_BYTES)
    assert sorted(seen) == seen
    assert list(target.parent.iterdir()) == [target]


def test_send_moves_nothing_when_the_same_file_is_there(remote, source, tmp_path):
    target = tmp_path / "there"
    target.write_bytes(source.read_bytes())
    assert send(remote, source, str(target)).moved_bytes == 0
    changed = bytearray(source.read_bytes())
    changed[7] ^= 1
    target.write_bytes(changed)
    assert send(remote, source, str(target)).moved_bytes == SIZE_BYTES
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_send_goes_on_by_itself_after_a_cut(remote, server, source, tmp_path, fraction):
    target = tmp_path / "part"
    copied = send(remote, source, str(target), advance=CutAt(server, fraction))
    assert target.read_bytes() == source.read_bytes()
    assert copied.interruptions == 1


def test_send_says_where_it_stopped_and_the_next_call_resumes(remote, server, source, tmp_path):
    target = tmp_path / "part"
    with pytest.raises(ConnectionLostError) as caught:
        send(remote, source, str(target), advance=CutAt(server, 0.5), attempts=1)
    assert caught.value.what == f"the copy of {source.name} to {server.address}"
    assert caught.value.must == "whole"
    assert " of 12.6 MB after 1 lost connections" in caught.value.got
    assert not target.exists()
    there = next(tmp_path.iterdir()).stat().st_size
    assert 0 < there < SIZE_BYTES
    remote.reconnect()
    copied = send(remote, source, str(target))
    assert copied.moved_bytes == SIZE_BYTES - there
    assert target.read_bytes() == source.read_bytes()
    assert list(tmp_path.iterdir()) == [target]


def test_send_starts_over_when_what_was_there_is_damaged(remote, source, tmp_path):
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    (tmp_path / f"part.{digest[:16]}.part").write_bytes(b"\0" * 2**20)
    copied = send(remote, source, str(tmp_path / "part"))
    assert copied.moved_bytes == 2 * SIZE_BYTES - 2**20
    assert (tmp_path / "part").read_bytes() == source.read_bytes()


def test_send_follows_no_planted_link(remote, source, tmp_path):
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / f"part.{digest[:16]}.part").symlink_to(victim)
    send(remote, source, str(tmp_path / "part"))
    assert victim.read_bytes() == b"mine"


def test_send_gives_up_after_its_attempts(remote, server, source, tmp_path):
    cut = CutAt(server, 0.0, times=10**6)
    with pytest.raises(ConnectionLostError, match=r"after 2 lost connections"):
        send(remote, source, str(tmp_path / "part"), advance=cut, attempts=2)


def test_send_refuses_where_there_is_no_room(remote, server, source, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is refused here: sudo make test, outside of containers")
    try:
        with pytest.raises(RemoteError) as caught:
            send(remote, source, str(small / "part"))
        assert caught.value.sentence.startswith(
            f"the disk of {server.address} must be large enough for 12.6 MB more; got 1 MB free"
        )
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_send_says_what_the_device_said_when_the_disk_fills_meanwhile(remote, source, tmp_path, monkeypatch):
    monkeypatch.setattr(copy, "RESERVE_BYTES", -(10**18))  # as if the room had been there when asked
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting is refused here: sudo make test, outside of containers")
    try:
        with pytest.raises(RemoteError, match="No space left on device"):
            send(remote, source, str(small / "part"))
    finally:
        subprocess.run(["umount", small], check=True)


def test_send_refuses_a_folder_that_cannot_be_made(remote, source, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RemoteError, match=r"must be writable; got mkdir: cannot create directory"):
        send(remote, source, str(tmp_path / "file" / "part"))


def test_send_refuses_what_is_no_file(remote, tmp_path):
    with pytest.raises(UsageError, match=r"must be a file; got a folder"):
        send(remote, tmp_path, "x")
    with pytest.raises(UsageError, match=r"must be a file; got nothing there"):
        send(remote, tmp_path / "absent", "x")


def test_fetch_copies_and_resumes(remote, server, source, tmp_path):
    target = tmp_path / "deep" / "record"
    with pytest.raises(ConnectionLostError):
        fetch(remote, str(source), target, advance=CutAt(server, 0.5), attempts=1)
    assert not target.exists()
    there = next(target.parent.iterdir()).stat().st_size
    assert 0 < there < SIZE_BYTES
    remote.reconnect()
    copied = fetch(remote, str(source), target)
    assert copied.moved_bytes == SIZE_BYTES - there
    assert target.read_bytes() == source.read_bytes()
    assert list(target.parent.iterdir()) == [target]


def test_fetch_goes_on_by_itself_after_a_cut(remote, server, source, tmp_path):
    copied = fetch(remote, str(source), tmp_path / "record", advance=CutAt(server, 0.3))
    assert copied.interruptions == 1
    assert (tmp_path / "record").read_bytes() == source.read_bytes()


def test_fetch_refuses_what_is_not_there(remote, tmp_path):
    with pytest.raises(RemoteError, match=r"must be a readable file; got none"):
        fetch(remote, str(tmp_path / "absent"), tmp_path / "here")


def test_fetch_gives_up_on_a_file_that_differs_twice(remote, source, tmp_path, monkeypatch):
    monkeypatch.setattr(copy, "_digest", lambda path: "0" * 64)
    with pytest.raises(TransportError, match=r"must be equal on both sides; got other content, twice"):
        fetch(remote, str(source), tmp_path / "record")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_copied_too(remote, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert send(remote, tmp_path / "empty", str(tmp_path / "there")).moved_bytes == 0
    assert (tmp_path / "there").read_bytes() == b""
    fetch(remote, str(tmp_path / "there"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""
