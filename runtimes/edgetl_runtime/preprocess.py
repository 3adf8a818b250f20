"""From pixels to the uint8 tensor a model sees: the single implementation.

Training, evaluation, calibration, golden vectors and the station call the same two functions, `decode.decode` and
`preprocess`; that is what makes the exported model equal to the trained one. Pixels stay uint8 up to the model's
input; normalisation is inside the graph.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgetl_runtime.errors import ImageError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIFT_OF_BIT_DEPTH = {8: 0, 10: 2, 12: 4, 14: 6, 16: 8}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessSpec:
    """How an image becomes a tensor; stored in every run and bundle.

    Attributes:
        width_px: Width of the model's input, in pixels.
        height_px: Height of the model's input, in pixels.
        resize: `stretch` ignores the aspect ratio, `fit` pads with `pad_grey`, `crop` cuts the centre.
        interpolation: `area` for shrinking (linear where it enlarges), `linear`, or `halved-area`: means of 2x2 pixels
            while both sides are even and at least twice the target's, then as `area`; sizes that are whole multiples of
            the target's are means anyway. `area` alone is slow on large frames. All are bit-equal across instruction
            sets within one OpenCV version, cubic is not.
        colour: Channel order of arrays passed to `preprocess`; files are always decoded to RGB.
        bit_depth: Bits per channel that carry the picture, declared and never guessed.
        decode_scale: Largest factor by which a JPEG may be shrunk while decoding. 1 turns it off. Never below the
            model's input size, and never together with `roi_px`.
        roi_px: Region of interest (x, y, width, height) in the pixels of the upright image.
        pad_grey: Grey level of the bars that `fit` adds.
    """

    width_px: int
    height_px: int
    resize: Literal["stretch", "fit", "crop"] = "stretch"
    interpolation: Literal["area", "halved-area", "linear"] = "halved-area"
    colour: Literal["rgb", "bgr"] = "rgb"
    bit_depth: Literal[8, 10, 12, 14, 16] = 8
    decode_scale: Literal[1, 2, 4, 8] = 2
    roi_px: tuple[int, int, int, int] | None = None
    pad_grey: int = 114

    def __post_init__(self) -> None:
        for name in ("width_px", "height_px"):
            if not 8 <= getattr(self, name) <= 4096:
                raise UsageError(name, "from 8 to 4096", str(getattr(self, name)), fix=f"{name} = 224")
        if not 0 <= self.pad_grey <= 255:
            raise UsageError("pad_grey", "from 0 to 255", str(self.pad_grey), fix="pad_grey = 114")
        if self.roi_px is not None and (min(self.roi_px[:2]) < 0 or min(self.roi_px[2:]) < 1):
            raise UsageError(
                "roi_px",
                "x, y >= 0 and width, height >= 1",
                str(self.roi_px),
                fix="roi_px = [0, 0, 640, 480]",
            )


def preprocess(
    image: NDArray[Any], spec: PreprocessSpec, *, colour: Literal["rgb", "bgr"] | None = None
) -> NDArray[np.uint8]:
    """Turn a frame into the tensor a model sees.

    Args:
        image: (height, width), (height, width, 1) or (height, width, 3); uint8, or uint16 where `spec.bit_depth` > 8.
        spec: Region of interest, size, resize and interpolation.
        colour: Channel order of `image` if it is not `spec.colour`; the result of `decode` is `rgb`.

    Returns:
        uint8 array (spec.height_px, spec.width_px, 3), RGB, contiguous; `image` itself where nothing had to change.

    Raises:
        ImageError: The array has another rank, dtype or depth, or the region of interest lies outside it.

    Example:
        >>> spec = PreprocessSpec(width_px=32, height_px=32)
        >>> preprocess(np.zeros((48, 64), np.uint8), spec).shape
        (32, 32, 3)
    """
    import cv2

    image = to_eight_bit(_check_array(image), spec, name="the image array")
    if spec.roi_px is not None:
        image = _crop_roi(image, spec.roi_px)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    # scaling treats channels alike, so that fewer and smaller ones give the same numbers sooner
    image = np.ascontiguousarray(_resize(image, spec))
    if image.ndim == 2:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    if (colour or spec.colour) == "bgr":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    return image


def to_eight_bit(image: NDArray[Any], spec: PreprocessSpec, *, name: str) -> NDArray[np.uint8]:
    """Reduce an image to uint8 by the declared bit depth; a depth that does not fit the data is an error."""
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise ImageError(name, "uint8 or uint16", str(image.dtype), fix="convert it to uint8")
    if spec.bit_depth == 8:
        raise ImageError(
            name,
            "8 bits deep, as bit_depth says",
            "16-bit data",
            fix="declare the camera's depth, for instance --bit-depth 12",
        )
    highest = int(image.max(initial=0))
    if highest >> spec.bit_depth:
        raise ImageError(
            name,
            f"at most {spec.bit_depth} bits deep, as bit_depth says",
            f"a value of {highest}",
            fix="--bit-depth 16",
        )
    return (image >> SHIFT_OF_BIT_DEPTH[spec.bit_depth]).astype(np.uint8)


def _check_array(image: Any) -> NDArray[Any]:  # noqa: ANN401  (callers pass whatever a camera gave)
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or 0 in image.shape:
        got = f"shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(
            "the image array",
            "of shape (height, width) or (height, width, 3)",
            got,
            fix="pass one frame, not a batch",
        )
    if image.ndim == 3 and image.shape[2] not in (1, 3):
        raise ImageError("the image array", "of 1 or 3 channels", f"{image.shape[2]}", fix="drop the alpha channel")
    return image


def _crop_roi(image: NDArray[np.uint8], roi_px: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    x, y, width, height = roi_px
    if x + width > image.shape[1] or y + height > image.shape[0]:
        raise ImageError(
            f"roi_px {list(roi_px)}",
            "inside the image",
            f"an image of {image.shape[1]}x{image.shape[0]}",
            fix="correct roi_px",
        )
    return image[y : y + height, x : x + width]


def _resize(image: NDArray[np.uint8], spec: PreprocessSpec) -> NDArray[np.uint8]:
    target = (spec.width_px, spec.height_px)
    if spec.resize == "crop":
        image = _centre_crop(image, target)
    if spec.resize != "fit":
        return _scale(image, target, spec)
    height, width = image.shape[:2]
    factor = min(target[0] / width, target[1] / height)
    inner = (max(1, round(width * factor)), max(1, round(height * factor)))
    canvas = np.full((target[1], target[0], *image.shape[2:]), spec.pad_grey, np.uint8)
    left, top = (target[0] - inner[0]) // 2, (target[1] - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = _scale(image, inner, spec)
    return canvas


def _centre_crop(image: NDArray[np.uint8], target: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if width * target[1] > height * target[0]:
        cut = max(1, round(height * target[0] / target[1]))
        left = (width - cut) // 2
        return image[:, left : left + cut]
    cut = max(1, round(width * target[1] / target[0]))
    top = (height - cut) // 2
    return image[top : top + cut]


def _scale(image: NDArray[np.uint8], size: tuple[int, int], spec: PreprocessSpec) -> NDArray[np.uint8]:
    import cv2

    if spec.interpolation == "halved-area":
        image = _halved(image, size)
    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = image.shape[1] >= size[0] and image.shape[0] >= size[1]
    mode = cv2.INTER_AREA if spec.interpolation != "linear" and shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=mode), np.uint8)


def _halved(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Halve an image as far as `halved-area` says, for a target (width, height)."""
    import cv2

    height, width = image.shape[:2]
    while width % 2 == height % 2 == 0 and width >= 2 * size[0] and height >= 2 * size[1]:
        if width % size[0] == height % size[1] == 0:
            break
        width, height = width // 2, height // 2
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return image
