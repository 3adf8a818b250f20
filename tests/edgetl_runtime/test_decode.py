"""Decoding: exact pixels of good files, as OpenCV gives them, and a sentence for all others."""

from __future__ import annotations

import dataclasses
import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from edgetl_runtime.decode import decode
from edgetl_runtime.errors import ImageError
from edgetl_runtime.preprocess import PreprocessSpec

EXIF_ORIENTATION = 0x0112
SPEC = PreprocessSpec(width_px=32, height_px=24)
FULL = dataclasses.replace(SPEC, decode_scale=1)


def smooth(width_px, height_px, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC)


RGB = smooth(97, 63)
PICTURE = Image.fromarray(RGB)
GREY = np.asarray(PICTURE.convert("L"))
ALPHA = np.random.default_rng(1).integers(0, 256, GREY.shape, dtype=np.uint8)


def encoded(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def encoded_by_cv2(pixels, suffix=".png"):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def three(grey):
    return np.repeat(grey[:, :, None], 3, axis=2)


LOSSLESS = {
    "png": (encoded(PICTURE, "PNG"), RGB),
    "png grey": (encoded(PICTURE.convert("L"), "PNG"), three(GREY)),
    "png 1 bit": (encoded(PICTURE.convert("1"), "PNG"), np.asarray(PICTURE.convert("1").convert("RGB"))),
    "png palette": (encoded(PICTURE.quantize(16), "PNG"), np.asarray(PICTURE.quantize(16).convert("RGB"))),
    "png transparent palette": (
        encoded(PICTURE.quantize(16), "PNG", transparency=0),
        np.asarray(PICTURE.quantize(16).convert("RGB")),
    ),
    "png alpha": (encoded(Image.fromarray(np.dstack([RGB, ALPHA])), "PNG"), RGB),
    "png grey alpha": (encoded(Image.merge("LA", [PICTURE.convert("L")] * 2), "PNG"), three(GREY)),
    "png padded": (encoded(PICTURE, "PNG") + bytes(500), RGB),
    "bmp": (encoded(PICTURE, "BMP"), RGB),
    "bmp grey": (encoded(PICTURE.convert("L"), "BMP"), three(GREY)),
    "bmp palette": (encoded(PICTURE.quantize(16), "BMP"), np.asarray(PICTURE.quantize(16).convert("RGB"))),
    "tiff": (encoded(PICTURE, "TIFF"), RGB),
    "tiff lzw": (encoded(PICTURE, "TIFF", compression="tiff_lzw"), RGB),
    "tiff grey packbits": (encoded(PICTURE.convert("L"), "TIFF", compression="packbits"), three(GREY)),
    "tiff palette": (encoded(PICTURE.quantize(16), "TIFF"), np.asarray(PICTURE.quantize(16).convert("RGB"))),
    "tiff opaque": (encoded(PICTURE.convert("RGBA"), "TIFF"), RGB),
    "webp": (encoded(PICTURE, "WEBP", lossless=True), RGB),
    "webp alpha": (encoded(Image.fromarray(np.dstack([RGB, ALPHA])), "WEBP", lossless=True, exact=True), RGB),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_decode_gives_the_exact_pixels_of_lossless_files(kind):
    data, expected = LOSSLESS[kind]
    image = decode(data, FULL)
    np.testing.assert_array_equal(image, expected)
    assert image.flags.c_contiguous
    assert image.flags.writeable


JPEGS = {
    "baseline": (PICTURE, {}),
    "progressive": (PICTURE, {"progressive": True}),
    "subsampled": (PICTURE, {"subsampling": 2}),
    "grey": (PICTURE.convert("L"), {}),
    "restart markers": (PICTURE, {"restart_marker_blocks": 2}),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_decode_agrees_with_another_jpeg_decoder(kind):
    picture, options = JPEGS[kind]
    data = encoded(picture, "JPEG", quality=95, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert int(np.abs(decode(data, FULL).astype(int) - expected).max()) <= 2


def test_decode_takes_a_jpeg_in_four_colours_and_one_with_bytes_after_its_end():
    four = decode(encoded(PICTURE.convert("CMYK"), "JPEG", quality=98), FULL)
    assert int(np.abs(four.astype(int) - RGB).max()) <= 8
    plain = encoded(PICTURE, "JPEG")
    np.testing.assert_array_equal(decode(plain + bytes(300), FULL), decode(plain, FULL))


def with_orientation(picture, orientation, kind):
    if kind == "TIFF":
        return encoded(picture, kind, tiffinfo={EXIF_ORIENTATION: orientation})
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return encoded(picture, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_turns_images_upright(kind, orientation):
    data = with_orientation(PICTURE, orientation, kind)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    image = decode(data, FULL)
    assert image.shape == upright.shape
    assert int(np.abs(image.astype(int) - upright).max()) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_turns_images_upright_while_it_shrinks_them(orientation):
    data = with_orientation(Image.fromarray(smooth(301, 163)), orientation, "JPEG")
    whole, half = decode(data, FULL), decode(data, SPEC)
    assert half.shape == ((whole.shape[0] + 1) // 2, (whole.shape[1] + 1) // 2, 3)
    shrunk = cv2.resize(whole, half.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(half.astype(int) - shrunk).mean() < 5  # another turn gives more than 40


@pytest.mark.parametrize(
    ("scale", "size", "expected"),
    [
        (1, (640, 480), (480, 640)),
        (2, (640, 480), (240, 320)),
        (4, (640, 480), (120, 160)),
        (8, (640, 480), (60, 80)),
        (8, (640, 100), (50, 320)),  # a further halving would be below the 32 px of the model
        (2, (640, 63), (63, 640)),
        (2, (64, 64), (32, 32)),
    ],
)
def test_decode_never_shrinks_below_the_input_of_the_model(scale, size, expected):
    spec = dataclasses.replace(SPEC, decode_scale=scale)
    assert decode(encoded(Image.fromarray(smooth(*size)), "JPEG"), spec).shape[:2] == expected


def test_decode_does_not_shrink_with_a_region_of_interest_or_other_formats():
    big = Image.fromarray(smooth(640, 480))
    roi = dataclasses.replace(SPEC, roi_px=(500, 400, 64, 48))
    assert decode(encoded(big, "JPEG"), roi).shape == (480, 640, 3)
    assert decode(encoded(big, "PNG"), SPEC).shape == (480, 640, 3)


@pytest.mark.parametrize("depth", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
def test_decode_reduces_deep_images_by_the_declared_depth(depth, suffix, pixels):
    deep = (pixels.astype(np.uint16) << (depth - 8)) | 1
    bgr = deep if deep.ndim == 2 else np.ascontiguousarray(deep[..., ::-1])
    image = decode(encoded_by_cv2(bgr, suffix), dataclasses.replace(SPEC, bit_depth=depth))
    np.testing.assert_array_equal(image, pixels if pixels.ndim == 3 else three(pixels))


def test_decode_drops_the_alpha_of_a_deep_image():
    deep = np.dstack([RGB[..., ::-1], ALPHA]).astype(np.uint16) << 8
    np.testing.assert_array_equal(decode(encoded_by_cv2(deep), dataclasses.replace(SPEC, bit_depth=16)), RGB)


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (8, "must be 8 bits deep, as bit_depth says; got 16-bit data"),
        (12, "at most 12 bits deep.*; got a value of 5000"),
    ],
)
def test_decode_refuses_images_deeper_than_declared(depth, message):
    data = encoded_by_cv2(np.full((9, 9), 5000, np.uint16))
    with pytest.raises(ImageError, match=message):
        decode(data, dataclasses.replace(SPEC, bit_depth=depth))


def test_decode_refuses_a_transparent_tiff_because_its_colours_would_be_darkened():
    with pytest.raises(ImageError, match="must be opaque; got a TIFF with transparent pixels"):
        decode(encoded(Image.fromarray(np.dstack([RGB, ALPHA])), "TIFF"), FULL)


BIG = Image.fromarray(smooth(150, 100))
CUTTABLE = {
    "png": encoded(BIG, "PNG"),
    "jpeg": encoded(BIG, "JPEG"),
    "jpeg progressive": encoded(BIG, "JPEG", progressive=True),
    "jpeg restart": encoded(BIG, "JPEG", restart_marker_blocks=4),
    "jpeg thumbnail": with_orientation(BIG, 6, "JPEG")[:2]
    + b"\xff\xec\x00\x06\xff\xd8\xff\xd9"  # an end marker inside the header, as thumbnails have
    + encoded(BIG, "JPEG")[2:],
    "bmp": encoded(BIG, "BMP"),
    "tiff": encoded(BIG, "TIFF"),
    "tiff lzw": encoded(BIG, "TIFF", compression="tiff_lzw"),
    "tiff deflate": encoded(BIG, "TIFF", compression="tiff_adobe_deflate"),
    "tiff packbits": encoded(BIG, "TIFF", compression="packbits"),
    "webp": encoded(BIG, "WEBP"),
    "webp lossless": encoded(BIG, "WEBP", lossless=True),
}


@pytest.mark.parametrize("kind", CUTTABLE)
@pytest.mark.parametrize("spec", [FULL, SPEC], ids=["whole", "half"])
def test_decode_refuses_a_file_cut_anywhere(kind, spec):
    data = CUTTABLE[kind]
    decode(data, spec)
    for share in np.linspace(0.01, 0.99, 25):
        with pytest.raises(ImageError):
            decode(data[: int(len(data) * share)], spec)
    for missing in (1, 2, 5, 30):
        with pytest.raises(ImageError):
            decode(data[:-missing], spec)


def test_decode_refuses_a_png_with_altered_bytes():
    data = bytearray(encoded(PICTURE, "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="got bytes that do not decode"):
        decode(bytes(data), FULL)


def opencv(data, flags=cv2.IMREAD_COLOR):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), flags), cv2.COLOR_BGR2RGB)


def as_ycck(data):
    """The same file, its colours declared as YCCK."""
    at = data.index(b"Adobe") + 11
    return data[:at] + b"\2" + data[at + 1 :]


SAMPLINGS = {name: getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}") for name in ("411", "420", "422", "440", "444")}
ODD = smooth(301, 163, seed=3)
NOISE = np.random.default_rng(5).integers(0, 256, (67, 131, 3), dtype=np.uint8)
OPENCVS = {
    f"{name} {shape}": encoded(Image.fromarray(pixels).convert(mode), "JPEG", **options)
    for shape, pixels in {"odd": ODD, "noise": NOISE, "one pixel": ODD[:1, :1], "one row": ODD[:1]}.items()
    for name, mode, options in (
        ("baseline", "RGB", {}),
        ("progressive", "RGB", {"progressive": True}),
        ("coarse", "RGB", {"quality": 5}),
        ("coarse progressive", "RGB", {"quality": 5, "progressive": True}),
        ("optimised", "RGB", {"optimize": True}),
        ("restart markers", "RGB", {"restart_marker_blocks": 2}),
        ("without YCbCr", "RGB", {"keep_rgb": True}),
        ("grey", "L", {}),
        ("grey progressive", "L", {"progressive": True}),
        ("CMYK", "CMYK", {}),
    )
}
OPENCVS |= {
    f"sampled {name}": cv2.imencode(".jpg", ODD, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])[1].tobytes()
    for name, factor in SAMPLINGS.items()
}
OPENCVS["YCCK"] = as_ycck(encoded(Image.fromarray(ODD).convert("CMYK"), "JPEG"))
OPENCVS["turned"] = with_orientation(Image.fromarray(ODD), 7, "JPEG")


@pytest.mark.parametrize("kind", OPENCVS)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_decode_gives_opencvs_pixels_of_every_jpeg_at_every_scale(kind, scale):
    data = OPENCVS[kind]
    flags = cv2.IMREAD_COLOR if scale == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{scale}")
    expected = opencv(data, flags)
    # the sides are as short as that of the model, so that each scale may be asked for
    spec = PreprocessSpec(width_px=8, height_px=8, decode_scale=scale)
    if min(Image.open(io.BytesIO(data)).size) >= 8 * scale:
        np.testing.assert_array_equal(decode(data, spec), expected)
    else:
        assert decode(data, spec).shape[0] >= expected.shape[0]


@pytest.mark.parametrize("kind", [*LOSSLESS, "webp lossy", "tiff deflate", "tiff tiled", "tiff big-endian"])
def test_decode_gives_opencvs_pixels_of_every_other_format(kind):
    others = {
        "webp lossy": encoded(Image.fromarray(ODD), "WEBP"),
        "tiff deflate": encoded(Image.fromarray(ODD), "TIFF", compression="tiff_adobe_deflate"),
        "tiff tiled": encoded(Image.fromarray(ODD), "TIFF", tiffinfo={322: 64, 323: 64}),
        "tiff big-endian": encoded(Image.fromarray(GREY.astype(">u2") * 16), "TIFF"),
    }
    data = others[kind] if kind in others else LOSSLESS[kind][0]
    if kind == "tiff big-endian":
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) >> 4
        expected, spec = pixels[..., ::-1].astype(np.uint8), dataclasses.replace(FULL, bit_depth=12)
    else:
        expected, spec = opencv(data), FULL
    np.testing.assert_array_equal(decode(data, spec), expected)


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"<html></html>",
        b"GIF89a",
        bytes(100),
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"II*\0\xff\xff\xff\xff",
        b"RIFF\0\0\0\0WEBP",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\0\0",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_decode_refuses_what_is_not_an_image(data):
    with pytest.raises(ImageError, match="the image must be a"):
        decode(data, FULL)


def test_decode_survives_any_damage_to_any_format():
    rng = np.random.default_rng(0)
    for data in CUTTABLE.values():
        for _ in range(15):
            hurt = bytearray(data)
            at = int(rng.integers(len(hurt) - 8))
            hurt[at : at + 8] = rng.bytes(8)
            try:
                image = decode(bytes(hurt), FULL)
            except ImageError:
                continue
            assert image.ndim == 3


def test_decode_names_the_file(tmp_path):
    file = tmp_path / "part 7 ü.png"
    file.write_bytes(b"")
    with pytest.raises(ImageError, match=r"image .*part 7 ü\.png must be an image file; got an empty file"):
        decode(file, FULL)
    with pytest.raises(ImageError, match=r"cannot read image .*: No such file or directory"):
        decode(tmp_path / "none.png", FULL)
    with pytest.raises(ImageError, match=r"cannot read image .*: Is a directory"):
        decode(str(tmp_path), FULL)
    with pytest.raises(ImageError, match="must be a file name"):
        decode("a\0.png", FULL)
    with pytest.raises(ImageError, match="frame 7 must be a JPEG"):
        decode(b"x", FULL, name="frame 7")


def test_decode_reads_files_as_it_reads_bytes(tmp_path):
    data = encoded(PICTURE, "JPEG")
    (tmp_path / "a.jpg").write_bytes(data)
    np.testing.assert_array_equal(decode(tmp_path / "a.jpg", SPEC), decode(data, SPEC))
    np.testing.assert_array_equal(decode(str(tmp_path / "a.jpg"), SPEC), decode(data, SPEC))
