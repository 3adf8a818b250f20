"""Images move into exactly one place: after a power cut anywhere, across file systems, over no other file."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from crash_model import QuickDisk, Recorder, crash_states, read_tree, write_tree

from edgetl_runtime.errors import BusyError, UsageError
from edgetl_runtime.install import evidence as evidences
from edgetl_runtime.install.evidence import Evidence, ImageLeftError, NoPlaceError
from edgetl_runtime.install.service import serve

PARTS = {"a.png": b"good " * 100, "b.png": b"bad", "c.png": b"good too"}


class Live:
    """A session whose verdict is in the image."""

    generation = None

    def predict(self, data: bytes) -> SimpleNamespace:
        return SimpleNamespace(to_mapping=lambda: {"verdict": "OK" if data.startswith(b"good") else "NOK"})


class TwoDisks:
    """Mixed in: the folder in which images arrive is a file system of its own."""

    def _rename(self, source, target):
        if source.parent.name == "in" and target.parent.name != "in":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source))
        super()._rename(source, target)


class RecorderOfTwo(TwoDisks, Recorder):
    """Two file systems, recorded."""


class QuickTwo(TwoDisks, QuickDisk):
    """Two file systems, without waiting for them."""


def decide_all(root, disk):
    """Serve until no image waits."""
    with Evidence(root / "in", root / "out", disk=disk) as evidence:
        serve(Live(), evidence, stop=lambda: not list((root / "in").iterdir()))


def promises_broken(root):
    """Say which image is lost, doubled or without its line."""
    found = {
        str(path.relative_to(root / "out")): path.read_bytes()
        for path in (root / "out").rglob("*.png")
        if ".parts" not in path.parts
    }
    lines = [json.loads(line) for line in (root / "out/decisions.jsonl").read_text().splitlines()]
    placed = {line["file"]: PARTS[line["image"]] for line in lines}
    if sorted(line["image"] for line in lines) != sorted(PARTS):
        yield f"{[line['image'] for line in lines]} on record"
    if found != placed:
        yield f"{sorted(found)} lie there, {sorted(placed)} are on record"
    if any(line["verdict"] != ("OK" if PARTS[line["image"]].startswith(b"good") else "NOK") for line in lines):
        yield "a wrong verdict"


@pytest.fixture
def same_after_copy(monkeypatch):
    """A tree that is written anew has other inodes and times; a disk after a power cut has not."""
    monkeypatch.setattr(evidences, "_mark", lambda found: (0, found.st_size, 0))


@pytest.mark.parametrize(("recorder", "disk"), [(Recorder, QuickDisk), (RecorderOfTwo, QuickTwo)])
@pytest.mark.usefixtures("same_after_copy")
def test_no_power_cut_loses_doubles_or_tears_an_image(tmp_path, recorder, disk):
    root = tmp_path / "whole"
    (root / "in").mkdir(parents=True)
    for name, data in PARTS.items():
        (root / "in" / name).write_bytes(data)
    before = read_tree(root)
    recording = recorder(root)
    decide_all(root, recording)
    assert list(promises_broken(root)) == []
    count = 0
    for step, left in crash_states(before, recording.steps):
        again = tmp_path / "again"
        write_tree(left, again)
        decide_all(again, disk())
        assert list(promises_broken(again)) == [], (step, recording.steps[:step])
        shutil.rmtree(again)
        count += 1
    assert count > 50


@pytest.fixture
def evidence(tmp_path):
    (tmp_path / "in").mkdir()
    with Evidence(tmp_path / "in", tmp_path / "out", disk=QuickDisk()) as opened:
        yield opened


def arrive(evidence, name="a.png", data=b"good"):
    path = evidence.images / name
    path.write_bytes(data)
    part = evidence.read(path)
    assert part is not None
    return part


def test_the_bytes_that_were_decided_on_are_kept_whatever_lies_there_now(evidence):
    part = arrive(evidence)
    (evidence.images / "next").write_bytes(b"the next part")
    (evidence.images / "next").rename(part.path)
    evidence.move(part, "OK/a.png")
    assert (evidence.out / "OK/a.png").read_bytes() == b"good"
    assert part.path.read_bytes() == b"the next part"  # to be decided


def test_an_image_that_vanished_after_its_decision_is_kept(evidence):
    part = arrive(evidence)
    part.path.unlink()
    evidence.move(part, "OK/a.png")
    assert (evidence.out / "OK/a.png").read_bytes() == b"good"


def test_no_file_is_overwritten(evidence):
    (evidence.out / "OK").mkdir()
    (evidence.out / "OK/a.png").write_bytes(b"yesterday's")
    (evidence.out / "OK/b.png").mkdir()
    part = arrive(evidence)
    place = evidence.place("OK", part)
    assert place != "OK/a.png"
    assert place.startswith("OK/a.")
    assert place.endswith(".png")
    with pytest.raises(NoPlaceError):
        evidence.move(part, "OK/a.png")
    evidence.move(part, place)
    assert (evidence.out / "OK/a.png").read_bytes() == b"yesterday's"
    assert evidence.place("OK", arrive(evidence, "b.png")) != "OK/b.png"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (os.fsdecode(b"caf\xe9.png"), "OK/caf%xe9.png"),
        ("ä" * 125 + "x.png", "OK/" + "ä" * 125 + "x.png"),
        (os.fsdecode(b"\xff" * 251 + b".png"), "OK/" + ("%xff" * 62 + "%xf") + ".png"),
    ],
)
def test_places_are_names_that_every_reader_can_write(evidence, name, place):
    part = arrive(evidence, name)
    assert evidence.place("OK", part) == place
    evidence.move(part, place)
    assert not part.path.exists()


def test_a_name_that_the_disk_refuses_is_replaced_by_a_plain_one(evidence, monkeypatch):
    part = arrive(evidence, "a:b.PNG")

    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(evidence._disk, "_rename", refuse)
    with pytest.raises(NoPlaceError, match="Invalid argument"):
        evidence.move(part, "OK/a:b.PNG")
    monkeypatch.undo()
    plain = evidence.plain_place("OK", part)
    evidence.move(part, plain)
    assert Path(plain).stem.replace("-", "").isalnum()
    assert (evidence.out / plain).read_bytes() == b"good"


def test_an_image_that_cannot_be_removed_has_its_evidence(evidence, monkeypatch):
    part = arrive(evidence)

    def refuse(path, *_):
        if path.parent == evidence.images:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        path.rename(*_)

    monkeypatch.setattr(evidence._disk, "_rename", refuse)
    monkeypatch.setattr(evidence._disk, "_unlink", refuse)
    with pytest.raises(ImageLeftError, match="not permitted"):
        evidence.move(part, "OK/a.png")
    assert (evidence.out / "OK/a.png").read_bytes() == b"good"


def test_a_line_that_does_not_fit_leaves_nothing(evidence, monkeypatch):
    evidence.record('{"verdict": "OK"}')

    def half(descriptor, _path, data):
        os.write(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evidence._disk, "_write", half)
    with pytest.raises(OSError, match="No space"):
        evidence.record('{"verdict": "NOK"}')
    assert (evidence.out / "decisions.jsonl").read_text() == '{"verdict": "OK"}\n'


@pytest.mark.parametrize(
    "torn",
    [b'{"verdict": "N', b"\0" * 30, b"\0" * 30 + b"\n", b'{"verdict"\n{"ver', b"[" * 10**4 + b"\n"],
    ids=["cut", "zeros", "line of zeros", "two", "nested without end"],
)
def test_a_torn_line_is_cut_off_at_the_start(tmp_path, torn):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    log = tmp_path / "out/decisions.jsonl"
    log.write_bytes(b'{"verdict": "OK"}\n' + torn)
    with Evidence(tmp_path / "in", tmp_path / "out"):
        assert log.read_bytes() == b'{"verdict": "OK"}\n'


def test_a_log_that_was_rotated_away_is_begun_again(evidence):
    evidence.record('{"verdict": "OK"}')
    (evidence.out / "decisions.jsonl").rename(evidence.out / "decisions.1.jsonl")
    evidence.record('{"verdict": "NOK"}')
    assert (evidence.out / "decisions.jsonl").read_text() == '{"verdict": "NOK"}\n'


def test_a_file_too_large_to_be_read_is_a_fault_and_moves(evidence, monkeypatch):
    monkeypatch.setattr(evidences, "MAX_IMAGE_BYTES", 3)
    part = arrive(evidence)
    assert (part.data, part.fault) == (None, "4 bytes, more than 3")
    evidence.move(part, "FAULT/a.png")
    assert (evidence.out / "FAULT/a.png").exists()


def test_only_plain_files_arrive_and_links_are_not_followed(evidence, tmp_path):
    (tmp_path / "elsewhere.png").write_bytes(b"good")
    (evidence.images / "link.png").symlink_to(tmp_path / "elsewhere.png")
    os.mkfifo(evidence.images / "pipe.png")
    (evidence.images / "note.txt").touch()
    part = arrive(evidence, "b.PNG")
    assert evidence.arrived() == ([part.path], ["link.png", "pipe.png"])
    assert evidence.read(evidence.images / "link.png") is None
    assert evidence.read(evidence.images / "pipe.png") is None
    assert evidence.read(evidence.images / "gone.png") is None


def test_one_service_writes_to_a_folder(evidence):
    with pytest.raises(BusyError, match="of one service"):
        Evidence(evidence.images, evidence.out).open()


def test_folders_that_cannot_work_are_refused(tmp_path):
    with pytest.raises(UsageError, match="must be a folder"):
        Evidence(tmp_path / "none", tmp_path / "out").open()
    (tmp_path / "out/OK").mkdir(parents=True)
    with pytest.raises(UsageError, match="must be outside --out"):
        Evidence(tmp_path / "out/OK", tmp_path / "out").open()


def test_notes_of_images_in_hand_do_not_grow_without_bound(evidence, monkeypatch):
    monkeypatch.setattr(evidences, "_MAX_INTENTS_BYTES", 200)
    part = arrive(evidence)
    for _ in range(10):
        evidence.intend(part)
    assert (evidence.out / ".deciding").stat().st_size < 500
    found = evidence.unfinished()
    assert (found.id, found.tries) == (part.id, 2)
    evidence.withdraw()
    assert evidence.unfinished() is None
