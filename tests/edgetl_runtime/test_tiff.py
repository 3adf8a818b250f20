"""TIFF files: whole strips, one flavour or a sentence, and no trust in a directory."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from edgetl_runtime.decode import decode
from edgetl_runtime.errors import ImageError
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.tiff import directory

SPEC = PreprocessSpec(width_px=8, height_px=8, bit_depth=16)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 33), dtype=np.uint8)
SIZE = {256: (4, 33), 257: (4, 40)}


def tiff(strips, order="<", **changes):
    """A grey TIFF of 33x40 pixels; keyword tNNN changes or drops a tag: (type, values…)."""
    lead = b"II*\0" if order == "<" else b"MM\0*"
    entries = {256: (4, 33), 257: (4, 40), 258: (3, 8), 259: (3, 1), 262: (3, 1), 277: (3, 1), 278: (4, 40)}
    starts = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    entries |= {273: (4, *starts), 279: (4, *map(len, strips))}
    for name, value in changes.items():
        entries.pop(int(name[1:]), None)
        if value:
            entries[int(name[1:])] = value
    at = 8 + sum(map(len, strips))
    far = at + 2 + 12 * len(entries) + 4
    body, extra = struct.pack(f"{order}H", len(entries)), b""
    for tag, (kind, *values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{'BHI'[(kind > 1) + (kind > 3)]}", *values)
        body += struct.pack(f"{order}HHI", tag, kind, len(values))
        if len(packed) > 4:
            body += struct.pack(f"{order}I", far + len(extra))
            extra += packed
        else:
            body += packed.ljust(4, b"\0")
    return lead + struct.pack(f"{order}I", at) + b"".join(strips) + body + bytes(4) + extra


RAW = PIXELS.tobytes()


@pytest.mark.parametrize("order", "<>")
def test_directory_reads_both_byte_orders_and_values_inside_and_outside(order):
    found = directory(tiff([RAW[:660], RAW[660:]], order, t278=(4, 20), t258=(3, 8)))
    assert found[256] == (33,)
    assert found[273] == (8, 668)
    with pytest.raises(struct.error):
        directory(b"II*\0\xff\xff\xff\xff")
    with pytest.raises(struct.error):
        directory(tiff([RAW], order)[:1400])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [1, 8, 32946, 32773, 5])
def test_every_flavour_gives_its_exact_pixels(order, compression):
    strips = [RAW[:660], RAW[660:]]
    if compression in (8, 32946):
        strips = [zlib.compress(strip) for strip in strips]
    elif compression == 32773:
        strips = [b"".join(b"\x20" + s[i : i + 33] for i in range(0, 660, 33)) for s in strips]
    elif compression == 5:
        data = cv2.imencode(".tiff", PIXELS, [cv2.IMWRITE_TIFF_PREDICTOR, 1])[1].tobytes()
        found = directory(data)
        (start, *_), (length, *_) = found[273], found[279]
        strips = [data[start : start + length]] if len(found[273]) == 1 else pytest.skip("OpenCV wrote strips")
    rows = 40 if len(strips) == 1 else 20
    image = decode(tiff(strips, order, t259=(3, compression), t278=(4, rows)), SPEC)
    np.testing.assert_array_equal(image[..., 0], PIXELS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t259": (3, 7)}, "uncompressed or compressed by LZW, Deflate or PackBits; got compression 7"),
        ({"t262": (3, 6)}, "of grey, RGB or palette pixels; got photometric interpretation 6"),
        ({"t262": None}, "of grey, RGB or palette pixels"),
        ({"t277": (3, 2)}, "of 1, 3 or 4 channels; got 2"),
        ({"t258": (3, 8, 16, 8)}, "of 8, 16, 8 bits per channel"),
        ({"t258": (3, 0)}, "of 0 bits per channel"),
        ({"t256": None}, "a TIFF that does not say its size"),
        ({"t256": (4, 0)}, "one of 0x40 pixels"),
        ({"t256": (4, 1 << 31)}, "at most 100 megapixels"),
        ({"t257": (4, 41), "t278": (4, 41)}, "is not whole"),
        ({"t279": (4, 1319)}, "is not whole"),
        ({"t279": (4, 1 << 31)}, "overlap or lie outside"),
        ({"t273": (4, 300)}, "a truncated file"),
        ({"t279": None}, "1 strips or tiles where 1 belong"),
        ({"t273": None}, "0 strips or tiles where 1 belong"),
        ({"t278": (4, 20)}, "1 strips or tiles where 2 belong"),
        ({"t278": (4, 0)}, "1 strips or tiles where 40 belong"),
        ({"t324": (4, 8), "t325": (4, 1320), "t322": (4, 1 << 20), "t323": (4, 1 << 20)}, "tiles of 1048576x1048576"),
        ({"t324": (4, 8), "t325": (4, 1320)}, "tiles of 0x0"),
    ],
)
def test_a_directory_that_cannot_be_true_is_one_sentence(changes, message):
    with pytest.raises(ImageError, match=message):
        decode(tiff([RAW], **changes), SPEC)


@pytest.mark.parametrize(
    "packed",
    [
        zlib.compress(RAW)[:-1],
        zlib.compress(RAW)[:-4] + b"\0\0\0\0",
        zlib.compress(RAW[:-1]),
        zlib.compress(RAW + b"\0"),
        b"",
    ],
    ids=["cut", "checksum", "short", "long", "empty"],
)
def test_a_deflated_strip_holds_its_bytes_exactly(packed):
    with pytest.raises(ImageError, match="is not whole"):
        decode(tiff([packed], t259=(3, 8)), SPEC)


def test_a_deflate_bomb_stays_small():
    bomb = zlib.compress(bytes(200_000_000))
    with pytest.raises(ImageError, match="is not whole"):
        decode(tiff([bomb], t259=(3, 8)), SPEC)


def test_strips_that_share_their_bytes_are_refused_before_each_is_read():
    packed = zlib.compress(RAW)
    rows, length = 40, len(packed)
    shared = {"t259": (3, 8), "t278": (4, 1), "t273": (4, *[8] * rows), "t279": (4, *[length] * rows)}
    with pytest.raises(ImageError, match="overlap or lie outside"):
        decode(tiff([packed], **shared), SPEC)


def test_tags_that_nobody_reads_cost_nothing():
    """Each could name the whole file as its value, thousands of times."""
    found = directory(tiff([RAW], t65000=(1, *RAW), t65001=(1, *RAW)))
    assert 65000 not in found
    assert found[257] == (40,)


def test_a_size_that_only_other_readers_understand_is_refused():
    data = bytearray(tiff([RAW], t254=(4, 60000)))
    at = 8 + len(RAW) + 2
    data[at : at + 4] = struct.pack("<HH", 256, 9)  # signed: libtiff would take it for the width
    with pytest.raises(ImageError, match="whose tag 256 is not of whole numbers"):
        decode(bytes(data), SPEC)


def test_a_second_entry_of_a_tag_does_not_count():
    data = bytearray(tiff([RAW], t65000=(4, 7)))
    at = data.rindex(struct.pack("<H", 65000))
    data[at : at + 2] = struct.pack("<H", 256)
    np.testing.assert_array_equal(directory(bytes(data))[256], (33,))


@pytest.mark.parametrize("packed", [b"\x20" * 34 * 39, b"\x7f" + RAW, b"", b"\x81\0" * 20], ids=str)
def test_packbits_rows_end_where_they_should(packed):
    with pytest.raises(ImageError, match="is not whole"):
        decode(tiff([packed], t259=(3, 32773)), SPEC)


def test_lzw_errors_that_opencv_decodes_over_are_refused():
    buffer = io.BytesIO()
    Image.fromarray(np.tile(PIXELS, (4, 4))).save(buffer, "TIFF", compression="tiff_lzw")
    good = buffer.getvalue()
    decode(good, SPEC)
    hurt = bytearray(good)
    hurt[500:508] = b"\xff" * 8
    assert cv2.imdecode(np.frombuffer(bytes(hurt), np.uint8), cv2.IMREAD_COLOR) is not None
    with pytest.raises(ImageError, match="LZW data are corrupt"):
        decode(bytes(hurt), SPEC)
    hurt[500:530] = bytes(30)
    with pytest.raises(ImageError, match="a block of zeros"):
        decode(bytes(hurt), SPEC)
