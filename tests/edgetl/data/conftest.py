"""Small image folders for the data room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write_image(file: Path, seed: int, *, width_px: int = 24, height_px: int = 20) -> None:
    """Write a picture that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(file.suffix, pixels)[1]
    file.write_bytes(encoded.tobytes())  # cv2.imwrite refuses some names


@pytest.fixture
def image() -> Callable[..., None]:
    return write_image


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Return a folder with 12 images of `ok` and 8 of `scratch`."""
    root = tmp_path / "parts"
    for label, first, count in (("ok", 0, 12), ("scratch", 100, 8)):
        for index in range(count):
            write_image(root / label / f"{index:02}.png", first + index)
    return root


@pytest.fixture
def split_parts(tmp_path: Path) -> Path:
    """Return a folder with train, val and test, each with 6 images of `ok` and 5 of `scratch`."""
    root = tmp_path / "split"
    seed = 0
    for split in ("train", "val", "test"):
        for label, count in (("ok", 6), ("scratch", 5)):
            for index in range(count):
                seed += 1
                write_image(root / split / label / f"{index:02}.png", seed)
    return root
