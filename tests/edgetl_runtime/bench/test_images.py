"""Enough different images, labels only where the folders are the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench import images
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("bad", "ok")


def fill(folder: Path, *names: str, start: int = 0) -> None:
    for index, name in enumerate(names, start):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image %d" % index)


def test_golden_images_of_a_bundle(tiny_path: Path) -> None:
    with open_bundle(tiny_path) as bundle:
        found = images.of_bundle(bundle)
    assert (found.facts.n, found.facts.source, found.timed, found.labelled) == (16, "bundle", (), ())


def test_a_folder_per_class_gives_labels_and_a_fixed_order(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{'bad' if i % 3 else 'ok'}/{i:02}.png" for i in range(40)), "ok/notes.txt")
    found, again = (images.of_folder(tmp_path, CLASSES) for _ in range(2))
    assert found == again
    assert (found.facts.n, found.facts.labelled, len(found.timed)) == (40, True, images.TIMED)
    assert list(found.timed) != sorted(found.timed)
    assert sum(label == "ok" for _, label in found.labelled) == 14


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{i:02}.png" for i in range(16)))
    found = images.of_folder(tmp_path, CLASSES)
    assert (found.facts.labelled, found.labelled, len(found.timed)) == (False, (), 16)


def test_the_digest_is_of_the_contents(tmp_path: Path) -> None:
    fill(tmp_path / "a", *(f"{i:02}.png" for i in range(16)))
    fill(tmp_path / "b", *(f"x{i:02}.png" for i in range(16)))
    fill(tmp_path / "c", *(f"{i:02}.png" for i in range(16)), start=1)
    a, b, c = (images.of_folder(tmp_path / name, CLASSES).facts.sha256 for name in "abc")
    assert a == b != c


def test_copies_of_one_image_are_one_image(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{i:02}.png" for i in range(15)))
    for i in range(20):
        (tmp_path / f"copy{i}.png").write_bytes(b"image 0")
    with pytest.raises(UsageError, match="at least 16 different ones; got 15"):
        images.of_folder(tmp_path, CLASSES)


def test_a_folder_of_another_class_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, *(f"bad/{i:02}.png" for i in range(16)), "scratch/1.png")
    with pytest.raises(UsageError, match="classes of the bundle: bad, ok; got scratch"):
        images.of_folder(tmp_path, CLASSES)


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be a folder"):
        images.of_folder(tmp_path / "absent", CLASSES)
