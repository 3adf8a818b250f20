"""Training and station see the same pixels: the data set's tensors equal the session's, bit by bit, on odd images."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

import edgetl_runtime
from edgetl.data.images import load_images
from edgetl.data.samples import Sample
from edgetl_runtime.preprocess import PreprocessSpec

SIZE_PX = 16  # of the tiny bundle's model
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (37, 53, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 4096, (37, 53)).astype(np.uint16)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(COLOUR), "JPEG", exif=exif, quality=95)


IMAGES = {
    "colour": (".png", encoded(Image.fromarray(COLOUR), "PNG"), {}),
    "grey": (".png", encoded(Image.fromarray(COLOUR[..., 0]), "PNG"), {}),
    "palette": (".png", encoded(Image.fromarray(COLOUR).quantize(16), "PNG"), {}),
    "alpha": (".png", encoded(Image.fromarray(np.dstack([COLOUR, COLOUR[..., :1]]), "RGBA"), "PNG"), {}),
    "turned by EXIF": (".jpg", rotated(6), {}),
    "mirrored by EXIF": (".jpg", rotated(5), {}),
    "12 bit": (".png", encoded(Image.fromarray(DEEP), "PNG"), {"bit_depth": 12}),
    "16 bit": (".tif", encoded(Image.fromarray(DEEP * 16), "TIFF"), {"bit_depth": 16}),
    "one row": (".png", encoded(Image.fromarray(COLOUR[:1]), "PNG"), {}),
    "large JPEG": (".jpg", encoded(Image.fromarray(np.kron(COLOUR, np.ones((9, 9, 1), np.uint8))), "JPEG"), {}),
    "fitted": (".bmp", encoded(Image.fromarray(COLOUR), "BMP"), {"resize": "fit"}),
    "cropped region": (".png", encoded(Image.fromarray(COLOUR), "PNG"), {"resize": "crop", "roi_px": (3, 5, 31, 20)}),
}


@pytest.mark.parametrize("name", IMAGES)
def test_tensor_of_training_equals_that_of_the_session(name, tiny_bundle, tmp_path):
    suffix, data, options = IMAGES[name]
    spec = PreprocessSpec(width_px=SIZE_PX, height_px=SIZE_PX, **options)
    path = tmp_path / f"image{suffix}"
    path.write_bytes(data)
    sample = Sample(path=path, label=0, split="train", sha256=hashlib.sha256(data).hexdigest())
    trained = load_images([sample], spec)[0]
    with edgetl_runtime.open(tiny_bundle(preprocess=spec)) as session:
        for image in (data, path, str(path)):
            assert np.array_equal(session.tensor(image), trained)
    assert trained.shape == (SIZE_PX, SIZE_PX, 3)
    assert trained.std() > 0
