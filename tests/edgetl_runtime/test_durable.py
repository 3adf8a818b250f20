"""What is written is there whole or not at all, and is synced before its name, its name before anybody is told."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from edgetl_runtime import durable


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def steps(monkeypatch):
    """What was synced and renamed, in order: `file`, `rename`, `folder`."""
    found, fsync, replace = [], os.fsync, Path.replace

    def synced(descriptor):
        found.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(self, target):
        found.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    return found


def test_a_file_is_synced_then_renamed_then_its_folder_is_synced(tmp_path, steps):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    durable.write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert steps == ["file", "rename", "folder"]
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_ends_early_leaves_the_old_file_and_nothing_else(tmp_path, fault):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def end_early():
        with durable.whole(path) as file:
            file.write(b"half")
            raise fault

    with pytest.raises(type(fault)):
        end_early()
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["x"])


def test_a_new_file_never_replaces_one(tmp_path, steps):
    path = tmp_path / "x"
    durable.write_new(path, b"first", mode=durable.PRIVATE)
    assert steps == ["file", "folder"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        durable.write_new(path, b"second")
    assert path.read_bytes() == b"first"


def test_a_file_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        durable.write_whole(tmp_path / "x", b"")
        durable.write_whole(tmp_path / "secret", b"", mode=durable.PRIVATE)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("x", "secret")] == [0o640, 0o600]
