"""Files are whole or not there, and a folder belongs to one process while it is written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgetl import files
from edgetl.errors import InUseError
from edgetl.files import LOCK, changing, clear, contents, file_taken, reading, sha256_of, taken, write_whole
from edgetl_runtime import locks
from edgetl_runtime.errors import UsageError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_write_whole_replaces_and_says_the_digest(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    assert write_whole(path, b"new") == sha256_of(path) == hashlib.sha256(b"new").hexdigest()
    assert (path.read_bytes(), names(tmp_path)) == (b"new", ["x"])


def test_write_whole_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        write_whole(path, b"new")
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["x"])


def test_two_writers_of_one_file_do_not_write_into_each_others(tmp_path, monkeypatch):
    path, replace = tmp_path / "x", Path.replace

    def between(self, target):
        monkeypatch.setattr(Path, "replace", replace)
        write_whole(path, b"other")  # the whole of it, while the first one is about to be renamed
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", between)
    write_whole(path, b"first")
    assert (path.read_bytes(), names(tmp_path)) == (b"first", ["x"])


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [(taken, taken, True), (taken, reading, True), (reading, taken, True), (reading, reading, False)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_folder_is_written_by_one_or_read_by_many(first, second, refused, tmp_path):
    with first(tmp_path, "the first"):
        if refused:
            with pytest.raises(InUseError, match=r"must be free; got the first \(process \d+ on .*\) at work there\."):
                second(tmp_path, "the second").__enter__()
        else:
            with second(tmp_path, "the second"):
                pass
            assert names(tmp_path) == [LOCK]  # the first one reads on
        with pytest.raises(InUseError):
            taken(tmp_path, "the third").__enter__()
    with taken(tmp_path, "later"):
        pass
    assert names(tmp_path) == []


def test_a_lock_that_a_dead_process_left_does_not_block(tmp_path):
    (tmp_path / LOCK).write_text("edgetl finetune (process 1 on box)")
    with taken(tmp_path, "the next"):
        assert (tmp_path / LOCK).read_text().startswith("the next (process ")
    assert names(tmp_path) == []


def test_a_lock_that_its_holder_removed_in_the_meantime_is_not_mistaken_for_the_folders(tmp_path, monkeypatch):
    def late(descriptor, *, shared):
        monkeypatch.setattr(files, "try_lock", locks.try_lock)
        (tmp_path / LOCK).unlink()  # as the holder does at its end, after it was opened here
        return locks.try_lock(descriptor, shared=shared)

    monkeypatch.setattr(files, "try_lock", late)
    with taken(tmp_path, "the first"), pytest.raises(InUseError):
        taken(tmp_path, "the second").__enter__()


def test_folders_made_for_nothing_are_removed_and_others_kept(tmp_path):
    deep = tmp_path / "a" / "b"
    with taken(deep, "x"):
        assert contents(deep) == []
    assert names(tmp_path) == []
    with taken(deep, "x"):
        (deep / "result").touch()
    assert names(deep) == ["result"]


def test_taken_refuses_a_file_and_reading_what_is_not_there_makes_nothing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="must be a folder; got something else"):
        taken(tmp_path / "file", "x").__enter__()
    with reading(tmp_path / "absent", "x"):
        assert names(tmp_path) == ["file"]


def test_the_name_of_a_file_is_held(tmp_path):
    with file_taken(tmp_path / "x.edgetl", "the first"):
        with pytest.raises(InUseError, match=r"the file .*x\.edgetl must be free; got the first"):
            file_taken(tmp_path / "x.edgetl", "the second").__enter__()
        with file_taken(tmp_path / "y.edgetl", "the second"):
            pass
    assert names(tmp_path) == []


def test_changes_exclude_each_other_within_a_folder_that_is_read(tmp_path):
    lock = tmp_path / files.CHANGE_LOCK
    with reading(tmp_path, "x"), reading(tmp_path, "y"):
        assert locks.holder(lock) is None
        with changing(tmp_path):
            assert locks.holder(lock) is not None
            assert contents(tmp_path) == []
    assert names(tmp_path) == []


def test_clear_keeps_the_locks_and_the_file_it_is_told(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "link").symlink_to("/")
    (tmp_path / "elsewhere").symlink_to("/")
    for name in ("a", "b"):
        (tmp_path / name).touch()
    with taken(tmp_path, "x"):
        clear(tmp_path, keep="b")
        assert names(tmp_path) == [LOCK, "b"]
        clear(tmp_path)
    assert names(tmp_path) == []
