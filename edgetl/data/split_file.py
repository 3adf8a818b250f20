"""`split.csv` of a run: every image with its label, split and content digest."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.data.samples import Sample
from edgetl.errors import RunError
from edgetl.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.data.samples import Dataset

COLUMNS = ("path", "label", "split", "group", "certainty", "sha256")


def write_split(path: Path, data: Dataset) -> str:
    """Write every image of a data set; return the file's SHA-256."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for s in data.samples:
        writer.writerow([s.path.resolve(), data.classes[s.label], s.split, s.group or "", s.certainty, s.sha256])
    return write_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))


def check_split(path: Path, data: Dataset) -> None:
    """Refuse a data set that is not the one a split was written for.

    Raises:
        RunError: Images were added, removed or changed, or are labelled or split otherwise; or the file is damaged.
    """
    before = {_identity(s) for s in read_split(path, data.classes)}
    now = {_identity(s) for s in data.samples}
    if before != now:
        different = sorted({identity[0] for identity in before ^ now})
        got = f"{len(different)} added, removed or changed, the first {different[0]}"
        raise RunError("the images", "those the run was started with", got, fix="start again with --force")


def _identity(sample: Sample) -> tuple[str, int, str, str]:
    return str(sample.path.resolve()), sample.label, sample.split, sample.sha256


def read_split(path: Path, classes: Sequence[str]) -> tuple[Sample, ...]:
    """Read the images of a run.

    Raises:
        RunError: The file is missing or damaged, or images it names are gone.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            samples = tuple(_sample(row, classes) for row in csv.DictReader(file))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise RunError(
            str(path), "a readable split", f"{type(error).__name__}: {error}", fix="finetune again"
        ) from error
    if not samples:
        raise RunError(str(path), "a readable split", "one without images", fix="finetune again")
    gone = [s.path for s in samples if not s.path.is_file()]
    if gone:
        got = f"{len(gone)} images gone, the first {gone[0]}"
        raise RunError("the run's images", "where they were", got, fix="move them back, or finetune again")
    return samples


def _sample(row: dict[str, str], classes: Sequence[str]) -> Sample:
    return Sample(
        path=Path(row["path"]),
        label=classes.index(row["label"]),
        split=row["split"],  # type: ignore[arg-type]
        group=row["group"] or None,
        certainty=float(row["certainty"]),
        sha256=row["sha256"],
    )
