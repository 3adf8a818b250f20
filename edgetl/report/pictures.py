"""Images in the report: thumbnails, the preprocessing and augmentation preview, near-duplicates; all as data URIs."""

from __future__ import annotations

import base64
import csv
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl import tasks
from edgetl_runtime.decode import decode
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.preprocess import PreprocessSpec, preprocess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgetl.run import Run

THUMB_PX = 160
JPEG_QUALITY = 82
PREVIEW_IMAGES = 3
PREVIEW_VIEWS = 7
LOOKALIKE_SIDE_PX = 64
# what decoding for near-duplicates may cost: some ten seconds on a slow core
LOOKALIKE_IMAGES, LOOKALIKE_BYTES = 5_000, 500_000_000
LOOKALIKE_SHOWN = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One row of `split.csv`, whether or not its file still exists."""

    path: Path
    label: str
    split: str
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image, or the reason why it cannot be shown.

    Attributes:
        uri: JPEG as a data URI; empty if it cannot be shown.
        missing: The reason.
    """

    uri: str = ""
    missing: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One training image on its way into the model.

    Attributes:
        name: File name.
        label: True class.
        original: The file as stored.
        tensor: What the model sees.
        views: Augmented tensors.
    """

    name: str
    label: str
    original: Picture
    tensor: Picture
    views: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lookalikes:
    """Near-duplicates across splits.

    Attributes:
        unchecked: Why they were not searched; empty if they were.
        pairs: How many were found.
        test_images: Test images in at least one pair.
        shown: The nearest pairs: two (picture, split and name).
    """

    unchecked: str = ""
    pairs: int = 0
    test_images: int = 0
    shown: tuple[tuple[tuple[Picture, str], tuple[Picture, str]], ...] = ()


def read_listing(path: Path) -> list[Listed]:
    """Read `split.csv` without asking whether the files exist; empty where it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file))
        return [
            Listed(path=Path(r["path"]), label=r["label"], split=r["split"], sha256=r["sha256"])
            for r in rows
            if r["path"]
        ]
    except (OSError, csv.Error, KeyError, TypeError):
        return []


def thumbnail(path: Path, bit_depth: Any, *, side_px: int = THUMB_PX) -> Picture:  # noqa: ANN401  (a Literal of the spec)
    """Return a file as a JPEG of at most `side_px`, or why it cannot be shown."""
    import cv2

    spec = PreprocessSpec(width_px=side_px, height_px=side_px, bit_depth=bit_depth, decode_scale=8)
    try:
        image = decode(path, spec)
    except EdgetlError:
        return Picture(missing="the file is gone" if not path.exists() else "the file is no longer readable")
    scale = side_px / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encoded(image)


def encoded(image: NDArray[np.uint8]) -> Picture:
    """Return uint8 (height, width, 3) RGB as a JPEG data URI, shrunk to at most the size of a thumbnail."""
    import cv2

    height, width = image.shape[:2]
    scale = THUMB_PX / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return Picture(uri="data:image/jpeg;base64," + base64.b64encode(data).decode())


def previews(listing: Sequence[Listed], run: Run) -> list[Preview]:
    """Return training images before and after preprocessing, and augmented as they were in training."""
    from edgetl.data.augment import AugmentConfig

    switched_off: dict[str, Any] = dict.fromkeys(run.config.get("no_augment", ()), False)
    config = AugmentConfig(**run.augment.get("fitted", switched_off))
    return [_preview(row, index, run, config) for index, row in enumerate(_one_per_class(listing, run))]


def _one_per_class(listing: Sequence[Listed], run: Run) -> list[Listed]:
    """Pick training images of different classes, one of each right verdict first among them."""
    train = sorted((r for r in listing if r.split == "train"), key=lambda r: str(r.path))
    task, seen = tasks.get(run.task), set()
    first = []
    for name in run.classes:
        verdict = task.device.right_verdict(run.labels, name)
        first += [name] if verdict not in seen else []
        seen.add(verdict)
    order = [*first, *(name for name in run.classes if name not in first)]
    queues = [[r for r in train if r.label == name] for name in order]
    # the n-th image of every class in turn, until there are enough
    turns = [queue[i] for i in range(PREVIEW_IMAGES) for queue in queues if len(queue) > i]
    return turns[:PREVIEW_IMAGES]


def _preview(row: Listed, index: int, run: Run, config: Any) -> Preview:  # noqa: ANN401  (AugmentConfig, imported lazily)
    from edgetl.data.augment import augment

    original = thumbnail(row.path, run.preprocess.bit_depth)
    tensor = original
    views: tuple[Picture, ...] = ()
    if not original.missing:
        try:
            image = preprocess(decode(row.path, run.preprocess), run.preprocess, colour="rgb")
            rng = np.random.default_rng((int(run.config.get("seed", 0)), index))
            tensor = encoded(image)
            views = tuple(encoded(augment(image, rng, config)) for _ in range(PREVIEW_VIEWS))
        except EdgetlError:
            tensor = Picture(missing="the file changed since the run")
    return Preview(name=row.path.name, label=row.label, original=original, tensor=tensor, views=views)


def lookalikes(listing: Sequence[Listed], run: Run) -> Lookalikes:
    """Search images of different splits that look nearly the same, where that is cheap enough for a report."""
    from edgetl.data.audit import near_duplicates
    from edgetl.data.images import load_images
    from edgetl.data.samples import Sample

    here = [r for r in listing if r.path.is_file() and r.label in run.classes]
    if not here or len(here) < len(listing):
        return Lookalikes(unchecked=f"{len(listing) - len(here)} of {len(listing)} image files are gone")
    if len(here) > LOOKALIKE_IMAGES or sum(r.path.stat().st_size for r in here) > LOOKALIKE_BYTES:
        return Lookalikes(unchecked=f"{len(here)} images are more than a report decodes")
    samples = [
        Sample(path=r.path, label=run.classes.index(r.label), split=r.split, sha256=r.sha256)  # type: ignore[arg-type]
        for r in here
    ]
    side = LOOKALIKE_SIDE_PX
    spec = dataclasses.replace(run.preprocess, width_px=side, height_px=side, decode_scale=8)
    try:
        pairs = near_duplicates(load_images(samples, spec), samples)
    except EdgetlError:
        return Lookalikes(unchecked="image files changed since the run")
    ends = [(samples[p.first], samples[p.second]) for p in pairs]
    in_test = {s.path for pair in ends for s in pair if s.split == "test"}
    depth = run.preprocess.bit_depth
    shown = tuple(
        tuple((thumbnail(s.path, depth), f"{s.split}: {s.path.name}") for s in pair) for pair in ends[:LOOKALIKE_SHOWN]
    )
    return Lookalikes(pairs=len(pairs), test_images=len(in_test), shown=shown)  # type: ignore[arg-type]
