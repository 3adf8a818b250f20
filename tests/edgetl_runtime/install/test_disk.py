"""Each durable change is written, synced, renamed, synced, in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from crash_model import Recorder

from edgetl_runtime.install.disk import Disk

if TYPE_CHECKING:
    from pathlib import Path


def test_replace_syncs_before_and_after_the_rename(tmp_path: Path) -> None:
    disk = Recorder(tmp_path)
    disk.replace(tmp_path / "a", b"one")
    disk.replace(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert [step[0] for step in disk.steps[:5]] == ["create", "write", "fsync", "rename", "sync"]


def test_point_never_leaves_a_moment_without_a_link(tmp_path: Path) -> None:
    disk = Recorder(tmp_path)
    disk.point(tmp_path / "current", "gen/a")
    disk.point(tmp_path / "current", "gen/b")
    assert str((tmp_path / "current").readlink()) == "gen/b"
    assert [step[0] for step in disk.steps] == ["symlink", "rename", "sync"] * 2


def test_create_refuses_what_exists_and_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("link", "there"):
        (tmp_path / "there").touch()
        with pytest.raises(FileExistsError):
            Disk().create(tmp_path / name, [b"x"])
    assert not (tmp_path / "elsewhere").exists()


def test_remove_takes_folders_and_links_but_not_what_links_point_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    inside = tmp_path / "inside"
    Disk().make_folder(inside / "deep")
    (inside / "deep" / "link").symlink_to(outside)
    (inside / "file").write_text("x")
    Disk().remove(inside)
    Disk().remove(inside)
    assert not inside.exists()
    assert (outside / "file").exists()


def test_append_and_truncate(tmp_path: Path) -> None:
    disk = Disk()
    disk.create(tmp_path / "log", [b"a", b"b"])
    disk.append(tmp_path / "log", b"cd")
    disk.truncate(tmp_path / "log", 3)
    assert (tmp_path / "log").read_bytes() == b"abc"
