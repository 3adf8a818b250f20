"""The list of formats, and what is known of a file before it is decoded."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetl_runtime.errors import ImageError
from edgetl_runtime.image_files import (
    MAX_PIXELS,
    SUFFIXES,
    check_bmp,
    check_png,
    check_size,
    check_webp,
    images_below,
    is_image_name,
    kind_of,
)  # fmt: skip

ROOT = Path(__file__).parents[2]
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8))


def encoded(kind, picture=PICTURE, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_no_other_file_lists_suffixes_of_images():
    listing = re.compile(r"[\"']\.(jpe?g|tiff?|webp|bmp)[\"'] *,")
    found = [
        str(path.relative_to(ROOT))
        for room in ("edgetl", "runtimes/edgetl_runtime")
        for path in sorted((ROOT / room).rglob("*.py"))
        if len(listing.findall(path.read_text())) > 1
    ]
    assert found == ["runtimes/edgetl_runtime/image_files.py"]


def test_images_are_found_by_suffix_at_any_depth(tmp_path):
    for name in ("b.JPG", "a/c.jfif", "a/d.txt", "a/e.gif", "f.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [str(p.relative_to(tmp_path)) for p in images_below(tmp_path)] == ["a/c.jfif", "b.JPG", "f.webp"]
    assert all(is_image_name(Path(f"x{suffix}")) for suffix in SUFFIXES)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_the_format_is_told_by_the_first_bytes(kind):
    assert kind_of("x", encoded(kind)).upper() == kind


@pytest.mark.parametrize(
    ("data", "got"),
    [(encoded("GIF"), "a GIF"), (encoded("TIFF", big_tiff=True), "a BigTIFF"), (encoded("PPM"), "bytes that do not")],
)
def test_other_formats_are_refused_by_name(data, got):
    with pytest.raises(ImageError, match=f"must be a JPEG, PNG, BMP, TIFF or WebP image; got {got}"):
        kind_of("x", data)


def test_the_limit_is_on_pixels_and_not_on_a_side():
    check_size("x", MAX_PIXELS, 1)
    check_size("x", 1, MAX_PIXELS)
    with pytest.raises(ImageError, match="at most 100 megapixels; got 10001x10000"):
        check_size("x", 10001, 10000)


HUGE = {
    "png": (check_png, encoded("PNG"), 16, ">II", (20000, 20000)),
    "bmp": (check_bmp, encoded("BMP"), 18, "<ii", (20000, -20000)),
    "webp lossy": (check_webp, encoded("WEBP"), 26, "<HH", (16383, 16383)),
    "webp lossless": (check_webp, encoded("WEBP", lossless=True), 21, "<I", (16382 | 16382 << 14,)),
    "webp extended": (check_webp, encoded("WEBP", exif=b"Exif\0\0x"), 24, "<HBHB", (65535, 0, 65535, 0)),
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_header_that_promises_too_much_is_refused(kind):
    check, data, at, layout, size = HUGE[kind]
    check("x", data)
    body = struct.pack(layout, *size)
    huge = bytearray(data[:at] + body + data[at + len(body) :])
    if kind == "png":
        huge[29:33] = struct.pack(">I", zlib.crc32(bytes(huge[12:29])))
    with pytest.raises(ImageError, match="at most 100 megapixels"):
        check("x", bytes(huge))


def test_a_png_whose_turn_is_damaged_is_refused_though_decoders_pass_over_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded("PNG", exif=exif))
    data[data.index(b"eXIf") + 6] ^= 1
    with pytest.raises(ImageError, match="a PNG whose part eXIf fails its checksum"):
        check_png("x", bytes(data))


def test_a_png_without_its_header_in_front_is_refused():
    data = encoded("PNG")
    with pytest.raises(ImageError, match="without its header"):
        check_png("x", data[:8] + data[33:])


def test_a_compressed_or_short_bmp_is_refused():
    data = encoded("BMP")
    with pytest.raises(ImageError, match="must be an uncompressed BMP; got compression 1"):
        check_bmp("x", data[:30] + b"\1" + data[31:])
    for hurt in (data[:-1], data[:2] + bytes(4) + data[6:-1]):  # the second does not say how long it is
        with pytest.raises(ImageError, match="a truncated file"):
            check_bmp("x", hurt)
    with pytest.raises(ImageError, match="one of 0x30 pixels"):
        check_bmp("x", data[:18] + bytes(4) + data[22:])


def test_flat_webps_are_no_lost_blocks():
    for side in (64, 1200, 4000):
        for options in ({}, {"lossless": True}, {"quality": 100}):
            check_webp("x", encoded("WEBP", Image.new("RGB", (side, side), (7, 7, 7)), **options))


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_with_a_lost_block_is_refused(lossless):
    big = PICTURE.resize((500, 300), Image.Resampling.NEAREST)
    data = encoded("WEBP", big, lossless=lossless, quality=95)
    half = len(data) // 2
    with pytest.raises(ImageError, match="a block of zeros at byte"):
        check_webp("x", data[:half] + bytes(512) + data[half + 512 :])
