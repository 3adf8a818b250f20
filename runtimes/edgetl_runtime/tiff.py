"""Read a TIFF's directory and prove that its strips are whole: OpenCV decodes over errors in them without a word.

Accepted are classic TIFF files of grey, RGB or palette pixels, uncompressed or compressed by LZW, Deflate or PackBits.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from typing import TYPE_CHECKING

from edgetl_runtime.errors import ImageError
from edgetl_runtime.image_files import check_size, damaged, refuse_zeros, truncated

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_STARTS, ORIENTATION = 256, 257, 258, 259, 262, 273, 274
SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILE_STARTS, TILE_BYTES = 322, 323, 324, 325
READ = {
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_STARTS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES,
    PLANAR, TILE_WIDTH, TILE_HEIGHT, TILE_STARTS, TILE_BYTES,
}  # fmt: skip
PLAIN, LZW, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 8, 32946, 32773
PHOTOMETRICS = (0, 1, 2, 3)  # white is zero, black is zero, RGB, palette
FORMAT_OF_TYPE = {1: "B", 3: "H", 4: "I"}
MAX_TILE_PIXELS = 4096 * 4096
LZW_ZEROS = 15  # no encoder repeats the code for a zero: it has one for two of them by then
FED_AT_ONCE, INFLATED_AT_ONCE = 1 << 16, 1 << 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A strip or tile: where it is, and what it holds once decompressed, in rows of bytes."""

    start: int
    length: int
    rows: int
    row_bytes: int


def directory(data: bytes) -> dict[int, tuple[int, ...]]:
    """Return the entries by tag, of those in `READ`, of the first directory of a TIFF or of EXIF data.

    What is not of whole numbers is empty.

    Raises:
        struct.error: It lies outside the data.
    """
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    entries: dict[int, tuple[int, ...]] = {}
    for start in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, start)
        if tag not in READ or tag in entries:  # libtiff too takes the first of two
            continue
        letter = FORMAT_OF_TYPE.get(kind)
        if letter is None:
            entries[tag] = ()
            continue
        layout = f"{order}{length}{letter}"
        inside = struct.calcsize(layout) <= 4
        (where,) = (start + 8,) if inside else struct.unpack_from(f"{order}I", data, start + 8)
        entries[tag] = struct.unpack_from(layout, data, where)
    return entries


def check(name: str, data: bytes) -> bool:
    """Prove that every strip of a TIFF decodes to the bytes the directory promises.

    Returns:
        Whether the picture has four channels, so that its alpha must be looked at.

    Raises:
        ImageError: It is damaged, too large, or of a flavour that is not accepted.
        struct.error: It is truncated.
    """
    entries = directory(data)
    odd = [tag for tag, values in entries.items() if not values]
    if odd:
        raise damaged(name, f"a TIFF whose tag {odd[0]} is not of whole numbers")
    if WIDTH not in entries or HEIGHT not in entries:
        raise damaged(name, "a TIFF that does not say its size")
    check_size(name, entries[WIDTH][0], entries[HEIGHT][0])
    compression = entries.get(COMPRESSION, (PLAIN,))[0]
    _check_flavour(name, entries, compression)
    for part in _parts(name, entries, len(data)):
        if part.start + part.length > len(data):
            raise truncated(name, data)
        _check_part(name, data, part, compression)
    if compression == LZW and max(entries.get(BITS, (1,))) <= 8:
        _decode_strictly(name, data)
    return entries.get(SAMPLES, (1,))[0] == 4


def _check_flavour(name: str, entries: dict[int, tuple[int, ...]], compression: int) -> None:
    if compression not in (PLAIN, LZW, DEFLATE, OLD_DEFLATE, PACKBITS):
        must = "a TIFF that is uncompressed or compressed by LZW, Deflate or PackBits"
        raise ImageError(name, must, f"compression {compression}", fix="save it as PNG")
    photometric = entries.get(PHOTOMETRIC, (-1,))[0]
    if photometric not in PHOTOMETRICS:
        must, got = "a TIFF of grey, RGB or palette pixels", f"photometric interpretation {photometric}"
        raise ImageError(name, must, got, fix="save it as PNG")
    samples, bits = entries.get(SAMPLES, (1,))[0], entries.get(BITS, (1,))
    if samples not in (1, 3, 4):
        raise ImageError(name, "a TIFF of 1, 3 or 4 channels", str(samples), fix="save it without its alpha channel")
    if len(set(bits)) != 1 or not 1 <= bits[0] <= 64:
        raise damaged(name, f"a TIFF of {', '.join(map(str, bits[:4]))} bits per channel")


def _parts(name: str, entries: dict[int, tuple[int, ...]], size: int) -> Iterator[Part]:
    width, height = entries[WIDTH][0], entries[HEIGHT][0]
    samples, bits = entries.get(SAMPLES, (1,))[0], entries.get(BITS, (1,))[0]
    planes = samples if entries.get(PLANAR, (1,))[0] == 2 else 1
    tiled = TILE_STARTS in entries
    if tiled:
        across, down = (entries.get(tag, (0,))[0] for tag in (TILE_WIDTH, TILE_HEIGHT))
        if not (across and down and across * down <= max(MAX_TILE_PIXELS, width * height)):
            raise damaged(name, f"a TIFF of tiles of {across}x{down} pixels")
        starts, lengths = entries[TILE_STARTS], entries.get(TILE_BYTES, ())
    else:
        across, down = width, min(entries.get(ROWS_PER_STRIP, (height,))[0], height)
        starts, lengths = entries.get(STRIP_STARTS, ()), entries.get(STRIP_BYTES, ())
    in_a_plane = -(-width // across) * -(-height // max(1, down))
    if len(starts) != in_a_plane * planes or len(lengths) != len(starts):
        raise damaged(name, f"a TIFF of {len(starts)} strips or tiles where {in_a_plane * planes} belong")
    if sum(lengths) > size:  # the work must not outgrow the file
        raise damaged(name, "a TIFF whose strips or tiles overlap or lie outside it")
    row_bytes = (across * (samples // planes) * bits + 7) // 8
    for i, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        rows = down if tiled else min(down, height - i % in_a_plane * down)
        yield Part(start=start, length=length, rows=rows, row_bytes=row_bytes)


def _check_part(name: str, data: bytes, part: Part, compression: int) -> None:
    end = part.start + part.length
    packed = memoryview(data)[part.start : end]
    whole = True
    if compression == PLAIN:
        whole = part.length >= part.rows * part.row_bytes
    elif compression == LZW:
        refuse_zeros(name, data, part.start, end, LZW_ZEROS)
    elif compression == PACKBITS:
        whole = _unpacks(packed, part)
    else:
        whole = _inflates(packed, part.rows * part.row_bytes)
    if not whole:
        raise damaged(name, f"a TIFF whose strip or tile at byte {part.start} is not whole")


def _inflates(packed: memoryview, expected: int) -> bool:
    """Tell whether a zlib stream holds exactly the expected bytes and ends with its checksum."""
    stream, count = zlib.decompressobj(), 0
    pieces = (packed[at : at + FED_AT_ONCE] for at in range(0, len(packed), FED_AT_ONCE))
    try:
        while not stream.eof and count <= expected:
            fed = stream.unconsumed_tail or next(pieces, b"")
            found = stream.decompress(fed, INFLATED_AT_ONCE)
            if not fed and not found:
                return False  # ends before its checksum
            count += len(found)
    except zlib.error:
        return False
    return count == expected


def _unpacks(packed: memoryview, part: Part) -> bool:
    """Tell whether PackBits data holds exactly the expected rows; a run never crosses the end of one."""
    at = 0
    for _ in range(part.rows):
        left = part.row_bytes
        while left > 0 and at < len(packed):
            control = packed[at]
            if control < 128:
                left -= control + 1
                at += control + 2
            else:
                left -= 257 - control if control > 128 else 0  # 128 does nothing
                at += 2 if control > 128 else 1
        if left:
            return False
    return at <= len(packed)


def _decode_strictly(name: str, data: bytes) -> None:
    """Decode by Pillow, which stops at what libtiff calls an error; OpenCV does so above 8 bits only."""
    from PIL import TiffImagePlugin

    try:
        with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:  # not Image.open: that guesses the format
            image.load()
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, EOFError) as error:
        raise damaged(name, f"a TIFF whose LZW data are corrupt ({error})") from error
