"""JPEG files: damage that libjpeg-turbo warns of or that cannot be a picture, and what must not be refused."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgetl_runtime.errors import ImageError
from edgetl_runtime.jpeg import decode

ROOT = Path(__file__).parents[2]
PICTURES = next((p / "shared/data/screws" for p in ROOT.parents if (p / "shared/data/screws").is_dir()), None)
COARSE = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
PICTURE = cv2.resize(COARSE, (640, 480), interpolation=cv2.INTER_CUBIC)


def encoded(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def read(data):
    return decode("x", data, needed_px=8, largest_scale=1)


DATA = encoded(PICTURE, quality=95)


def with_segment(data, marker, body):
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + data[2:]


def exif(order, orientation, kind=3):
    value = struct.pack(
        f"{order}I" if kind == 4 else f"{order}HH", *((orientation,) if kind == 4 else (orientation, 0))
    )
    entry = struct.pack(f"{order}HHI", 274, kind, 1) + value
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_exif_turns_a_picture_as_opencv_turns_it(order, orientation):
    data = with_segment(DATA, 0xE1, exif(order, orientation))
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(read(data), expected)


@pytest.mark.parametrize(
    "body",
    [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"http://ns.adobe.com/xap/1.0/\0", exif("<", 9), exif("<", 0)],
)
def test_a_picture_whose_exif_says_nothing_stays_as_it_is(body):
    np.testing.assert_array_equal(read(with_segment(DATA, 0xE1, body)), read(DATA))


def test_exif_is_found_behind_other_segments():
    turned = with_segment(with_segment(DATA, 0xE1, exif(">", 6)), 0xE1, b"http://ns.adobe.com/xap/1.0/\0")
    assert read(turned).shape == (640, 480, 3)


@pytest.mark.parametrize("grey", [False, True])
def test_a_warning_of_libjpeg_is_an_error(grey):
    data = encoded(PICTURE[..., 0].copy() if grey else PICTURE)
    with pytest.raises(ImageError, match=r"do not decode \(.*(Corrupt JPEG data|Premature end)"):
        read(data[: len(data) // 2] + b"\xff\xd9")
    at = data.index(b"\xff\xd9", len(data) // 2)
    with pytest.raises(ImageError, match="extraneous bytes before marker"):
        read(data[:at] + b"\x55" * 40 + data[at:])


@pytest.mark.parametrize("side", ["before", "behind"])
def test_a_block_of_zeros_is_refused_but_padding_is_not(side):
    at = len(DATA) // 2
    if side == "behind":
        np.testing.assert_array_equal(read(DATA + bytes(4096)), read(DATA))
    else:
        with pytest.raises(ImageError, match="a block of zeros at byte"):
            read(DATA[:at] + bytes(512) + DATA[at + 512 :])


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}], ids=str)
@pytest.mark.parametrize("grey", [0, 7, 255])
def test_flat_pictures_are_no_lost_blocks(options, grey):
    """Optimised tables code flat areas by zero bits: thousands of zero bytes in a row."""
    flat = np.full((960, 1280, 3), grey, np.uint8)
    assert int(np.abs(read(encoded(flat, **options)).astype(int) - grey).max()) <= 1
    flat[300:310, 300:310] = 255 - grey
    read(encoded(flat, **options))


def test_a_picture_of_too_many_pixels_is_refused_by_its_header():
    at = DATA.index(b"\xff\xc0") + 5
    huge = DATA[:at] + struct.pack(">HH", 65000, 65000) + DATA[at + 4 :]
    with pytest.raises(ImageError, match="at most 100 megapixels; got 65000x65000"):
        read(huge)


def test_a_small_file_of_endless_scans_is_refused():
    data = encoded(PICTURE, progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="more than 100 scans"):
        read(data[:-2] + data[last:-2] * 100 + data[-2:])


def lost_block(data, rng, *, missing):
    start = data.index(b"\xff\xda") + 14
    at = rng.randrange(start, len(data) - 2 - 4096)
    return data[:at] + (b"" if missing else bytes(4096)) + data[at + 4096 :]


@pytest.mark.skipif(PICTURES is None, reason="needs the real pictures of screws beside the checkout")
@pytest.mark.parametrize("missing", [True, False])
def test_a_lost_block_of_a_real_picture_is_known(missing):
    rng = random.Random(0)
    files = sorted(PICTURES.rglob("*.jpg"))
    hurt = [lost_block(path.read_bytes(), rng, missing=missing) for path in rng.sample(files, 50)]
    passed = 0
    for data in hurt:
        try:
            read(data)
        except ImageError:
            continue
        passed += 1
    assert passed <= 1
