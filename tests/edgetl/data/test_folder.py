from __future__ import annotations

import os

import pytest

from edgetl.data.folder import list_folder
from edgetl.errors import DataError


def test_list_folder_gives_classes_sorted_and_no_splits_when_there_are_none(parts):
    listing = list_folder(parts)
    assert listing.classes == ("ok", "scratch")
    assert len(listing.entries) == 20
    assert {entry.split for entry in listing.entries} == {None}
    assert list(listing.entries) == sorted(listing.entries, key=lambda e: e.path)


@pytest.mark.parametrize(("given", "means"), [("Training", "train"), ("valid", "val"), ("TEST", "test")])
def test_list_folder_knows_other_names_of_splits(split_parts, given, means):
    (split_parts / means).rename(split_parts / given)
    listing = list_folder(split_parts)
    assert sum(entry.split == means for entry in listing.entries) == 11


def test_list_folder_counts_other_files_and_never_looks_at_hidden_ones(parts, image):
    (parts / "ok" / "notes.txt").write_text("x")
    (parts / "index.csv").write_text("x")
    (parts / "ok" / ".DS_Store").write_text("x")
    image(parts / ".cache" / "a.png", 900)
    image(parts / "ok" / ".hidden" / "a.png", 901)
    listing = list_folder(parts)
    assert listing.ignored == 2
    assert len(listing.entries) == 20


def test_list_folder_only_counts_what_lies_beside_split_folders(split_parts, image):
    image(split_parts / "unlabelled" / "a.png", 900)
    image(split_parts / "unlabelled" / "lot 2" / "b.png", 901)
    (split_parts / "train" / "notes.txt").write_text("x")
    listing = list_folder(split_parts)
    assert listing.classes == ("ok", "scratch")
    assert listing.ignored == 3


def test_list_folder_searches_class_folders_to_any_depth(parts, image):
    image(parts / "scratch" / "lot 7" / "für Elise.JPG".replace("JPG", "jpg"), 900)
    assert list_folder(parts).entries[-1].label == "scratch"
    assert len(list_folder(parts).entries) == 21


def test_list_folder_takes_suffixes_in_capitals(parts):
    (parts / "ok" / "00.png").rename(parts / "ok" / "00.PNG")
    assert len(list_folder(parts).entries) == 20


def test_list_folder_ends_in_a_loop_of_links(parts):
    (parts / "ok" / "up").symlink_to(parts / "ok", target_is_directory=True)
    (parts / "ok" / "self").symlink_to(parts / "ok" / "self")
    (parts / "scratch" / "twice").symlink_to(parts / "scratch", target_is_directory=True)
    assert len(list_folder(parts).entries) == 20


def test_list_folder_follows_links_to_class_folders(parts, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    for label in ("ok", "scratch"):
        (linked / label).symlink_to(parts / label, target_is_directory=True)
    assert len(list_folder(linked).entries) == 20


def test_list_folder_refuses_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match=r"cannot read folder .*nowhere: No such file or directory\."):
        list_folder(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_list_folder_refuses_an_unreadable_folder_for_real(parts):
    (parts / "ok").chmod(0)
    try:
        with pytest.raises(DataError, match=r"cannot read folder .*ok: Permission denied"):
            list_folder(parts)
    finally:
        (parts / "ok").chmod(0o700)


def test_list_folder_refuses_an_unreadable_folder(parts, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/ok"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"cannot read folder .*ok: Permission denied"):
        list_folder(parts)


def test_list_folder_refuses_a_folder_without_images(tmp_path):
    (tmp_path / "ok").mkdir()
    (tmp_path / "ok" / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="must be filled with class folders of images; got no image in 1 class folders"):
        list_folder(tmp_path)


def test_list_folder_refuses_images_outside_class_folders(tmp_path, image):
    image(tmp_path / "a.png", 0)
    with pytest.raises(DataError, match="class folders of images; got no image in 0 class folders"):
        list_folder(tmp_path)


def test_list_folder_refuses_splits_without_train(split_parts):
    (split_parts / "train").rename(split_parts / "later")
    with pytest.raises(DataError, match="must be given a train folder; got only test, val"):
        list_folder(split_parts)


def test_list_folder_keeps_splits_given_below_the_classes(split_parts, tmp_path):
    turned = tmp_path / "turned"
    for split in ("train", "val", "test"):
        for label in ("ok", "scratch"):
            (turned / label).mkdir(parents=True, exist_ok=True)
            (split_parts / split / label).rename(turned / label / split)
    listing = list_folder(turned)
    assert listing.classes == ("ok", "scratch")
    assert [sum(e.split == split for e in listing.entries) for split in ("train", "val", "test")] == [11, 11, 11]


def test_list_folder_refuses_split_folders_below_some_classes_only(parts, image):
    image(parts / "ok" / "test" / "90.png", 900)
    with pytest.raises(DataError, match="must be in split folders all or none") as caught:
        list_folder(parts)
    assert "ok/test/90.png" in caught.value.got
    assert "ok/00.png" in caught.value.got


def test_list_folder_says_that_folders_below_a_class_are_one_class(parts, image):
    for name in ("crack", "dent"):
        image(parts / "scratch" / name / "a.png", 900 + len(name))
    (note,) = list_folder(parts).notes
    assert note == (
        "class scratch is one class: its folders crack, dent are not told apart; "
        "to make classes of them, move them next to scratch"
    )


def test_list_folder_says_what_it_ignored(split_parts, image):
    image(split_parts / "extra" / "a.png", 900)
    image(split_parts / "extra" / "b.png", 901)
    (split_parts / "train" / "ok" / "a.gif").write_bytes(b"GIF89a")
    (split_parts / "train" / "notes").write_text("x")
    assert list_folder(split_parts).notes == (
        "ignored 2 images in extra, which is none of the split folders",
        "ignored 2 files without the name of an image (1 .gif, 1 without a suffix)",
    )


def test_list_folder_refuses_a_file_and_says_what_it_takes(tmp_path):
    (tmp_path / "parts.tsv").write_text("path\tlabel\n")
    with pytest.raises(DataError, match="must be a folder of class folders, or a CSV file; got a file") as caught:
        list_folder(tmp_path / "parts.tsv")
    assert caught.value.fix == "save it as parts.csv with the columns path,label"
