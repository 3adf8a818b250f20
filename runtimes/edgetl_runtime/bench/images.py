"""Which images a bundle is measured on: enough different ones, the same for every round and every bundle compared."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from typing import TYPE_CHECKING

from edgetl_runtime.bench.record import ImageFacts
from edgetl_runtime.errors import UsageError
from edgetl_runtime.image_files import images_below

if TYPE_CHECKING:
    from pathlib import Path

    from edgetl_runtime.bundle import Bundle

FEWEST = 16
TIMED = 32  # of a folder; more would only need more memory


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images of a measurement.

    Attributes:
        facts: How many and which.
        timed: Paths of those that are timed, in their order; empty takes the bundle's golden images.
        labelled: Path and class of every image of a folder per class; for accuracy.
    """

    facts: ImageFacts
    timed: tuple[str, ...] = ()
    labelled: tuple[tuple[str, str], ...] = ()


def of_bundle(bundle: Bundle) -> Images:
    """Take the bundle's golden images.

    Raises:
        UsageError: There are too few different ones.
    """
    contents = [bundle.read(name) for name in bundle.manifest.golden.images]
    _enough(len(set(contents)), f"golden images of {bundle.path.name}")
    return Images(facts=ImageFacts(n=len(contents), sha256=_digest(contents), source="bundle"))


def of_folder(folder: Path, classes: tuple[str, ...], *, seed: int = 0) -> Images:
    """Take the images of a folder; if its subfolders are the classes, they are the labels.

    Args:
        folder: With images, at any depth.
        classes: Of the bundle.
        seed: Of the choice and the order of the timed ones.

    Raises:
        UsageError: There are too few different images, or the subfolders are other classes.
    """
    if not folder.is_dir():
        raise UsageError(
            f"--data {folder}",
            "a folder",
            "none",
            fix="--data with a folder of images, or without --data for the golden images",
        )
    paths = images_below(folder)
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    different = {digest: path for path, digest in reversed(digests.items())}
    _enough(len(different), f"images below {folder}")
    labels = {path: path.relative_to(folder).parts[0] for path in paths if len(path.relative_to(folder).parts) > 1}
    unknown = sorted(set(labels.values()) - set(classes))
    labelled = len(labels) == len(paths) and not unknown
    if unknown and set(labels.values()) & set(classes):  # some are classes: the others are a mistake
        must, got = "classes of the bundle: " + ", ".join(classes), ", ".join(unknown)
        raise UsageError(
            f"subfolders of {folder}",
            must,
            got,
            fix="leave other images out, or name every folder as the class that its parts are",
        )
    order = sorted(different.values())
    random.Random(seed).shuffle(order)  # noqa: S311  (an order, not a secret)
    return Images(
        facts=ImageFacts(
            n=len(paths), sha256=_digest([d.encode() for d in digests.values()]), source="folder", labelled=labelled
        ),
        timed=tuple(str(path) for path in order[:TIMED]),
        labelled=tuple((str(path), label) for path, label in labels.items()) if labelled else (),
    )


def _enough(different: int, what: str) -> None:
    if different < FEWEST:
        fix = "--data with a folder of real images: a few answer from caches and hide what others cost"
        raise UsageError(what, f"at least {FEWEST} different ones", str(different), fix=fix)


def _digest(contents: list[bytes]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in contents)).hexdigest()
