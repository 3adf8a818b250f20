"""Golden vectors of a bundle: raw images, their tensors, and what each variant must answer."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from edgetl.deploy.candidates import evaluated
from edgetl.errors import DataError
from edgetl_runtime import tasks
from edgetl_runtime.decode import decode
from edgetl_runtime.golden import decisions_of, tensor_digest
from edgetl_runtime.image_files import images_below
from edgetl_runtime.manifest import GoldenDecision, GoldenManifest, GoldenTolerance
from edgetl_runtime.preprocess import preprocess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgetl.deploy.candidates import Candidate
    from edgetl.run import Run

COUNT = 16
TENSORS = "golden/tensors.npy"
# how far a probability may be off on another machine; engines that only stand in for the device's get the most room
TOLERANCE = {"f32": 1e-3, "f16": 0.02, "bf16": 0.03, "int8": 0.03}
STAND_IN_TOLERANCE = 0.1


class GoldenSet:
    """Raw images with their tensors.

    Args:
        run: Says how images are preprocessed.
        paths: The images, at least `COUNT`.
        licence: Of the images.
    """

    def __init__(self, run: Run, paths: Sequence[Path], licence: str) -> None:
        self.run = run
        self.raw = [path.read_bytes() for path in paths]
        self.names = tuple(f"golden/{i:03}{path.suffix.lower()}" for i, path in enumerate(paths))
        self.licence = licence
        spec = run.preprocess
        self.tensors: NDArray[np.uint8] = np.stack(
            [
                preprocess(decode(raw, spec, name=f"image {path}"), spec, colour="rgb")
                for path, raw in zip(paths, self.raw, strict=True)
            ]
        )

    def manifest(self) -> GoldenManifest:
        """Return the manifest's part about the inputs."""
        return GoldenManifest(
            count=len(self.raw),
            images=self.names,
            tensors=TENSORS,
            tensor_sha256=tensor_digest(self.tensors),
            licence=self.licence,
        )

    def members(self) -> dict[str, bytes]:
        """Return the members that hold the inputs."""
        return {**dict(zip(self.names, self.raw, strict=True)), TENSORS: npy(self.tensors)}

    def expected(self, candidate: Candidate) -> tuple[bytes, tuple[GoldenDecision, ...]]:
        """Return the probabilities a candidate must answer, `.npy` float32 (G, C), and what it must decide."""
        outputs = evaluated(candidate.backend, candidate.model, candidate.load_options, self.tensors)
        task, labels = tasks.get(self.run.task), self.run.labels
        scores = task.scores(outputs, labels, candidate.params).astype(np.float32)
        return npy(scores), decisions_of(task, scores, labels, candidate.params)


def tolerance(candidate: Candidate) -> GoldenTolerance:
    """Return how far a device may be from the golden vectors of a candidate."""
    stands_in = candidate.runs_as != candidate.backend
    return GoldenTolerance(max_abs=STAND_IN_TOLERANCE if stands_in else TOLERANCE[candidate.precision])


def folder_images(folder: Path) -> list[Path]:
    """Return `COUNT` images of `--golden DIR`, taken evenly from all it holds: they travel in every bundle.

    Raises:
        DataError: There are fewer than `COUNT`.
    """
    found = images_below(folder) if folder.is_dir() else []
    if len(found) < COUNT:
        raise DataError(f"--golden {folder}", f"a folder of at least {COUNT} images", str(len(found)), fix="add images")
    return [found[(2 * i + 1) * len(found) // (2 * COUNT)] for i in range(COUNT)]


def npy(array: NDArray[np.generic]) -> bytes:
    """Return an array as the bytes of a `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
