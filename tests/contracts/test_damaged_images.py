"""A damaged or foreign image is never decided on: what a session and the station's command line refuse."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

import edgetl_runtime
from edgetl.data.images import load_images
from edgetl.data.samples import Sample
from edgetl_runtime.errors import ImageError
from edgetl_runtime.preprocess import PreprocessSpec

RNG = np.random.default_rng(0)
COARSE = cv2.resize(RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
PICTURE = Image.fromarray((COARSE + RNG.normal(0, 4, COARSE.shape)).clip(0, 255).astype(np.uint8))
ALPHA = Image.fromarray(np.dstack([COARSE, COARSE[..., 0]]))
BLOCK = 4096


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def missing(data):
    return data[: len(data) // 2] + data[len(data) // 2 + BLOCK :]


def zeroed(data):
    return data[: len(data) // 2] + bytes(BLOCK) + data[len(data) // 2 + BLOCK :]


def ended_early(data):
    return data[: len(data) // 2] + b"\xff\xd9"


JPEG = encoded(PICTURE, "JPEG", quality=90)
PROGRESSIVE = encoded(PICTURE, "JPEG", quality=90, progressive=True)
LZW = encoded(PICTURE, "TIFF", compression="tiff_lzw")
DEFLATE = encoded(PICTURE, "TIFF", compression="tiff_adobe_deflate")
WEBP = encoded(PICTURE, "WEBP", quality=90)
LOSSLESS = encoded(PICTURE, "WEBP", lossless=True)
PNG = encoded(PICTURE, "PNG")
GOOD = {"jpeg": JPEG, "progressive": PROGRESSIVE, "lzw": LZW, "deflate": DEFLATE, "webp": WEBP, "lossless": LOSSLESS}
DAMAGED = {
    "JPEG, 4 KiB missing": missing(JPEG),
    "JPEG, 4 KiB zeroed": zeroed(JPEG),
    "JPEG, cut, with an end": ended_early(JPEG),
    "progressive JPEG, 4 KiB missing": missing(PROGRESSIVE),
    "progressive JPEG, cut, with an end": ended_early(PROGRESSIVE),
    "LZW TIFF, 4 KiB zeroed": zeroed(LZW),
    "LZW TIFF, 4 KiB missing": missing(LZW),
    "OpenCV's TIFF, 4 KiB zeroed": zeroed(cv2.imencode(".tiff", COARSE)[1].tobytes()),
    "deflate TIFF, 4 KiB zeroed": zeroed(DEFLATE),
    "WebP, 4 KiB zeroed": zeroed(WEBP),
    "WebP, 4 KiB missing": missing(WEBP),
    "lossless WebP, 4 KiB zeroed": zeroed(LOSSLESS),
    "PNG, 4 KiB zeroed": zeroed(PNG),
    "PNG, 4 KiB missing": missing(PNG),
}


def big_endian_alpha():
    """A big-endian TIFF of 8x8 transparent pixels that counts its channels in 32 bits."""
    entries = [(256, 4, 8), (257, 4, 8), (258, 3, 8 << 16), (259, 3, 1 << 16), (262, 3, 2 << 16), (273, 4, 134)]
    entries += [(277, 4, 4), (278, 4, 8), (279, 4, 256), (338, 3, 2 << 16)]
    ifd = struct.pack(">H", 10) + b"".join(struct.pack(">HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"MM\0*\0\0\0\x08" + ifd + struct.pack(">I", 0) + b"\xc0\xc0\xc0\x80" * 64


FOREIGN = {
    "GIF": encoded(PICTURE, "GIF"),
    "JPEG 2000": encoded(PICTURE, "JPEG2000"),
    "AVIF": encoded(PICTURE, "AVIF"),
    "PPM": encoded(PICTURE, "PPM"),
    "Sun raster": cv2.imencode(".ras", COARSE)[1].tobytes(),
    "Radiance": cv2.imencode(".hdr", COARSE.astype(np.float32))[1].tobytes(),
    "BigTIFF": encoded(PICTURE, "TIFF", big_tiff=True),
    "BigTIFF with alpha": encoded(ALPHA, "TIFF", big_tiff=True),
    "big-endian TIFF with alpha": big_endian_alpha(),
    "animated PNG": encoded(PICTURE, "PNG", save_all=True, append_images=[ALPHA.convert("RGB")]),
    "animated WebP": encoded(PICTURE, "WEBP", save_all=True, append_images=[ALPHA.convert("RGB")]),
}


@pytest.fixture(scope="module")
def session(tiny_bundle):
    with edgetl_runtime.open(tiny_bundle()) as opened:
        yield opened


@pytest.mark.parametrize("kind", GOOD)
def test_the_undamaged_images_are_decided_on(session, kind):
    assert session.predict(GOOD[kind]).verdict in ("OK", "NOK", "UNSURE")


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_image_is_never_decided_on(session, kind):
    with pytest.raises(ImageError):
        session.predict(DAMAGED[kind])


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_format_that_is_not_listed_is_never_decided_on(session, kind):
    with pytest.raises(ImageError):
        session.predict(FOREIGN[kind])


@pytest.mark.parametrize("kind", [next(iter(DAMAGED)), "GIF"])
def test_training_refuses_what_the_station_refuses(tmp_path, kind):
    data = (DAMAGED | FOREIGN)[kind]
    path = tmp_path / "part.jpg"
    path.write_bytes(data)
    sample = Sample(path=path, label=0, split="train", sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(ImageError):
        load_images([sample], PreprocessSpec(width_px=16, height_px=16))


@pytest.mark.parametrize("kind", ["JPEG, 4 KiB missing", "LZW TIFF, 4 KiB zeroed", "WebP, 4 KiB zeroed"])
def test_predict_fails_on_a_damaged_file_and_names_it(tiny_bundle, tmp_path, kind):
    path = tmp_path / "part 7.jpg"
    path.write_bytes(DAMAGED[kind])
    line = [sys.executable, "-m", "edgetl_runtime", "predict", str(tiny_bundle()), str(path), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "part 7.jpg must be" in json.loads(done.stdout)["error"]["message"]


def huge_png(side=16000):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


REFUSE = """
import resource, sys
import cv2, numpy
from edgetl_runtime.errors import ImageError
import edgetl_runtime
with edgetl_runtime.open(sys.argv[1]) as session:
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        session.predict(sys.argv[2])
    except ImageError as error:
        print(error.sentence)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - loaded) // 1024)
"""


def test_a_small_file_of_a_huge_picture_is_refused_before_it_is_decoded(tiny_bundle, tmp_path):
    path = tmp_path / "part.png"
    path.write_bytes(huge_png())
    done = subprocess.run(
        [sys.executable, "-c", REFUSE, str(tiny_bundle()), str(path)], capture_output=True, text=True, check=False
    )
    sentence, grown_mb = done.stdout.splitlines()
    assert "must be at most 100 megapixels; got 16000x16000" in sentence
    assert int(grown_mb) < 50
