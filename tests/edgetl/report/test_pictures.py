from __future__ import annotations

import base64
import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edgetl.report import pictures
from edgetl.report.pictures import lookalikes, previews, read_listing, thumbnail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def pixels(uri: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize(("shape", "shown"), [((480, 640), (120, 160)), ((40, 30), (40, 30)), ((4000, 2), (160, 1))])
def test_thumbnail_keeps_the_aspect_and_enlarges_nothing(
    tmp_path: Path, shape: tuple[int, int], shown: tuple[int, int]
) -> None:
    path = tmp_path / "part.png"
    cv2.imwrite(str(path), np.full((*shape, 3), (0, 0, 200), np.uint8))
    image = pixels(thumbnail(path, 8).uri)
    assert image.shape[:2] == shown
    assert image.mean(axis=(0, 1)) == pytest.approx([0, 0, 200], abs=3)


def test_thumbnail_says_why_there_is_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no more")
    assert thumbnail(tmp_path / "none.jpg", 8).missing == "the file is gone"
    assert thumbnail(broken, 8).missing == "the file is no longer readable"


def test_previews_take_different_classes_and_the_same_views_every_time(fake_run: Callable) -> None:
    fake = fake_run(classes=("ok", "a", "b", "c"), per_class=4)
    listing = read_listing(fake.folder.split_csv)
    found = previews(listing, fake.run)
    assert [p.label for p in found] == ["ok", "a", "b"]
    assert [len(p.views) for p in found] == [7, 7, 7]
    assert previews(listing, fake.run) == found


def test_previews_follow_what_is_switched_off(fake_run: Callable) -> None:
    everything = ("flip_h", "flip_v", "rotate90", "affine", "photometric", "noise")
    fake = fake_run(config={"seed": 0, "no_augment": everything}, per_class=4)
    for p in previews(read_listing(fake.folder.split_csv), fake.run):
        assert set(p.views) == {p.tensor}


def test_lookalikes_are_not_searched_where_that_costs_too_much(
    fake_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_run(per_class=4)
    listing = read_listing(fake.folder.split_csv)
    assert lookalikes(listing, fake.run).pairs == 0
    monkeypatch.setattr(pictures, "LOOKALIKE_IMAGES", 23)
    assert lookalikes(listing, fake.run).unchecked == "24 images are more than a report decodes"


def test_lookalikes_say_that_files_changed(fake_run: Callable) -> None:
    fake = fake_run(per_class=4)
    listing = [dataclasses.replace(r, sha256="0" * 64) for r in read_listing(fake.folder.split_csv)]
    assert lookalikes(listing, fake.run).unchecked == "image files changed since the run"
