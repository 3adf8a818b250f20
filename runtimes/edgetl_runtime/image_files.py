"""Which files are images, and what their headers say: the one list of formats, read before anything is decoded.

Structure and size are checked here for PNG, BMP and WebP, in `tiff` for TIFF and in `jpeg` for JPEG. What a format
lets nobody know is said in `decode`.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgetl_runtime.errors import ImageError, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["JPEG", "PNG", "BMP", "TIFF", "WebP"]

SUFFIXES = (".bmp", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMATS = "a JPEG, PNG, BMP, TIFF or WebP image"
MAX_PIXELS = 100_000_000  # above every area camera in common use; in colour up to 0.6 GB while it is decoded
OTHER_FORMATS = {b"GIF8": "a GIF", b"II+\0": "a BigTIFF", b"MM\0+": "a BigTIFF"}  # named, for they are met
BMP_UNCOMPRESSED = (0, 3)  # plain, and plain with masks
WEBP_ANIMATED = 0x02
# A flat picture of WebP holds one zero byte per 10,000 pixels in a row, at most; a lost block holds nothing else.
ZEROS_IN_WEBP, PIXELS_PER_ZERO_IN_WEBP = 64, 5000


def is_image_name(path: Path) -> bool:
    """Tell by its suffix whether a file is meant to be an image."""
    return path.suffix.lower() in SUFFIXES


def images_below(folder: Path) -> list[Path]:
    """Return the images at any depth of a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if is_image_name(path) and path.is_file())


def read(source: str | Path | bytes, name: str | None) -> tuple[str, bytes]:
    """Return what errors call an image, and its bytes.

    Raises:
        ImageError: The file is missing, unreadable or empty.
    """
    if isinstance(source, bytes):
        name, data = name or "the image", source
    else:
        name = f"image {source}"
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise unreadable(ImageError, name, error, path=source) from error
        except ValueError as error:  # NUL or a lone surrogate in the name
            raise ImageError(name, "a file name", "one that no file can have", fix="rename the file") from error
    if not data:
        raise ImageError(name, "an image file", "an empty file", fix="copy the file again, or take the picture again")
    return name, data


def kind_of(name: str, data: bytes) -> Kind:
    """Return the format by the first bytes, whatever the file is called.

    Raises:
        ImageError: It is none of the five.
    """
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    got = OTHER_FORMATS.get(data[:4], "bytes that do not decode")
    raise ImageError(name, FORMATS, got, fix="save it as PNG")


def check_size(name: str, width_px: int, height_px: int) -> None:
    """Refuse a picture that has no pixels or too many to be decoded safely."""
    if min(width_px, height_px) < 1:
        raise damaged(name, f"one of {width_px}x{height_px} pixels")
    if width_px * height_px > MAX_PIXELS:
        must = f"at most {MAX_PIXELS // 1_000_000} megapixels"
        raise ImageError(name, must, f"{width_px}x{height_px}", fix="cut out what matters, or scale it down")


def damaged(name: str, got: str) -> ImageError:
    """Return the error for a file that is not as its writer wrote it."""
    return ImageError(name, "an undamaged image file", got, fix="copy the file again, or take the picture again")


def check_png(name: str, data: bytes) -> None:
    """Walk a PNG's chunks; the image data's own checksums are left to the decoder, which is strict about them."""
    for tag, start, end in _png_chunks(data):
        if (start == 16) != (tag == b"IHDR"):
            raise damaged(name, "a PNG without its header in front")
        if tag == b"IHDR":
            check_size(name, *struct.unpack_from(">II", data, start))
        if tag == b"acTL":
            raise ImageError(name, "a still picture", "an animation", fix="save one picture of it as PNG")
        # a decoder passes over what it need not know, its turn by EXIF for instance, where the checksum is wrong
        if tag != b"IDAT" and zlib.crc32(data[start - 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise damaged(name, f"a PNG whose part {tag.decode('ascii', 'replace')} fails its checksum")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (tag, start, end) up to the end chunk; bytes after it are padding."""
    at, tag = 8, b""
    while tag != b"IEND":
        length, tag = struct.unpack_from(">I4s", data, at)
        yield tag, at + 8, at + 8 + length
        at += 12 + length


def check_bmp(name: str, data: bytes) -> None:
    """Check that a BMP is uncompressed and holds every row its header promises."""
    file_bytes, start, header_bytes = struct.unpack_from("<I4xII", data, 2)
    if header_bytes == 12:
        width_px, height_px, bits = struct.unpack_from("<HH2xH", data, 18)
        compression = 0
    else:
        width_px, height_px, bits, compression = struct.unpack_from("<ii2xHI", data, 18)
    check_size(name, width_px, abs(height_px))
    if compression not in BMP_UNCOMPRESSED:
        raise ImageError(name, "an uncompressed BMP", f"compression {compression}", fix="save it as PNG")
    row_bytes = (width_px * bits + 31) // 32 * 4
    if len(data) < max(file_bytes, start + row_bytes * abs(height_px)):
        raise truncated(name, data)


def check_webp(name: str, data: bytes) -> None:
    """Walk a WebP's chunks and look for lost blocks, which its decoder would take for picture."""
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if len(data) < end:
        raise truncated(name, data)
    at = 12
    pixels = 0
    while at < end:
        tag, length = struct.unpack_from("<4sI", data, at)
        at += 8
        if tag in (b"ANIM", b"ANMF") or (tag == b"VP8X" and data[at] & WEBP_ANIMATED):
            raise ImageError(name, "a still picture", "an animation", fix="save one picture of it as PNG")
        if tag in (b"VP8 ", b"VP8L", b"VP8X"):
            width_px, height_px = _webp_size_px(tag, data, at)
            check_size(name, width_px, height_px)
            pixels = width_px * height_px
        if tag in (b"VP8 ", b"VP8L"):
            limit = ZEROS_IN_WEBP + (pixels // PIXELS_PER_ZERO_IN_WEBP if tag == b"VP8 " else 0)
            refuse_zeros(name, data, at, at + length, limit)
        at += length + length % 2


def _webp_size_px(tag: bytes, data: bytes, at: int) -> tuple[int, int]:
    if tag == b"VP8 ":
        width_px, height_px = struct.unpack_from("<HH", data, at + 6)
        return width_px & 0x3FFF, height_px & 0x3FFF
    if tag == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, at + 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, at + 4)
    return (low_w | high_w << 16) + 1, (low_h | high_h << 16) + 1


def refuse_zeros(name: str, data: bytes, start: int, end: int, limit: int) -> None:
    """Refuse compressed data with more than `limit` zero bytes in a row: a block that was never written."""
    at = data.find(bytes(limit + 1), start, end)
    if at >= 0:
        raise damaged(name, f"a block of zeros at byte {at}, where no picture has one")


def truncated(name: str, data: bytes) -> ImageError:
    """Return the error for a file that ends before its header says."""
    return ImageError(
        name, "a complete image file", f"a truncated file of {len(data)} bytes", fix="copy the file again"
    )
