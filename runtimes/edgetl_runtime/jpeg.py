"""Decode JPEG files by libjpeg-turbo's own interface, which tells of every warning; OpenCV's does not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime import tiff
from edgetl_runtime.errors import ImageError
from edgetl_runtime.image_files import FORMATS, check_size, damaged, refuse_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

APP1, HUFFMAN_TABLES, START_OF_SCAN = 0xE1, 0xC4, 0xDA
SEQUENTIAL = (0xC0, 0xC1)
END_OF_BLOCK, END_OF_IMAGE = 0x00, b"\xff\xd9"
MAX_SCANS = 100  # progressive files have about ten; each costs time by the picture's size and hardly a byte
ZEROS = 64  # more would fill a row of blocks with one coefficient repeated


def decode(name: str, data: bytes, *, needed_px: int, largest_scale: int) -> NDArray[np.uint8]:
    """Decode a JPEG to upright RGB.

    Args:
        name: What errors call the image.
        data: The file.
        needed_px: Neither side may become shorter than this by shrinking.
        largest_scale: Largest factor by which it may be shrunk while decoding: 1, 2, 4 or 8.

    Returns:
        uint8 array (height, width, 3), RGB, freshly allocated.

    Raises:
        ImageError: libjpeg-turbo warns of anything, or the picture is too large.
    """
    import cv2
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        check_size(name, width, height)
        if data.count(b"\xff\xda") > MAX_SCANS:
            raise damaged(name, f"a JPEG of more than {MAX_SCANS} scans")
        _refuse_lost_block(name, data)
        scale = largest_scale
        while scale > 1 and min(width, height) < needed_px * scale:
            scale //= 2
        size: dict[str, Any] = {}
        if scale > 1:
            size = {"min_width": -(-width // scale), "min_height": -(-height // scale), "min_factor": scale}
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if colours == "Gray" else "RGB", strict=True, **size)
    except ImageError:
        raise
    except ValueError as error:
        got = f"bytes that do not decode ({error})"
        raise ImageError(name, FORMATS, got, fix="copy the file again, or take the picture again") from error
    upright = _turned(pixels, _orientation(data))
    return np.asarray(cv2.cvtColor(upright, cv2.COLOR_GRAY2RGB) if colours == "Gray" else upright, np.uint8)


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Return (marker, start, end) of the segments up to the first scan's header."""
    segments = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append((marker, at + 4, end))
        if marker == START_OF_SCAN:
            break
        at = end
    return segments


def _orientation(data: bytes) -> int:
    """Return EXIF's orientation from 1 to 8; 1 where there is none that can be read."""
    for marker, start, end in _segments(data):
        if marker == APP1 and data[start : start + 6] == b"Exif\0\0":
            try:
                values = tiff.directory(data[start + 6 : end]).get(tiff.ORIENTATION)
            except struct.error:
                return 1
            return values[0] if values else 1
    return 1


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    import cv2

    if orientation in (5, 6, 7, 8):
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    axis = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if axis is None else np.asarray(cv2.flip(pixels, axis), np.uint8)


def _refuse_lost_block(name: str, data: bytes) -> None:
    """Refuse a long run of zeros where its code is not that of flat blocks: libjpeg decodes it to a picture.

    Optimised and progressive files may code flat areas by zeros, so that a run of them says nothing there.
    """
    first_values: dict[int, int] = {}
    sequential, scan = False, None
    for marker, start, end in _segments(data):
        if marker in SEQUENTIAL:
            sequential = True
        elif marker == HUFFMAN_TABLES:
            first_values |= _first_values(data[start:end])
        elif marker == START_OF_SCAN:
            scan = (start, end)
    if not sequential or scan is None or scan[0] + 3 > len(data):
        return
    table = 0x10 | data[scan[0] + 2] & 0x0F  # of the first component's coefficients
    if first_values.get(table, END_OF_BLOCK) != END_OF_BLOCK:
        end = data.find(END_OF_IMAGE, scan[1])  # padding may follow
        refuse_zeros(name, data, scan[1], end if end >= 0 else len(data), ZEROS)


def _first_values(segment: bytes) -> dict[int, int]:
    """Return what the code of zeros stands for in each Huffman table, by class and number."""
    values = {}
    at = 0
    while at + 17 < len(segment):
        values[segment[at]] = segment[at + 17]
        at += 17 + sum(segment[at + 1 : at + 17])
    return values
