"""`split.csv` of a run: every image with its label, split and content digest, remembered by later runs.

It is a data set too: `edgetl finetune RUN/split.csv --out OTHER` trains on the same images in the same splits.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.data.samples import SPLITS, Remembered, Sample, split_digest
from edgetl.errors import RunError
from edgetl.files import write_whole
from edgetl.run import read_json
from edgetl_runtime.errors import UsageError, unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.data.samples import Dataset, SplitName
    from edgetl.run import Run, RunFolder

REDRAW = "--split-from none to draw a new split, or restore the file"
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


def _identity(s: Sample) -> tuple[str, int, str, str, str | None, float]:
    return str(s.path.resolve()), s.label, s.split, s.sha256, s.group, s.certainty


def recall(split_from: str | None, folder: RunFolder) -> Remembered | None:
    """Return what an earlier run knows of its images' splits; None where there is none, or none is wanted.

    Args:
        split_from: A run or its split.csv, `none`, or None for the run that is in `folder`.
        folder: Where the new run is going to be written.

    Raises:
        UsageError: There is no such file.
        RunError: It is damaged, or not the split of the run that it lies in.
    """
    chosen = Path(split_from) if split_from is not None else folder.split_csv
    path = chosen / "split.csv" if chosen.is_dir() else chosen
    if split_from == "none" or (split_from is None and not path.is_file()):
        return None
    if not path.is_file():
        fix = "name a folder that edgetl finetune wrote, or --split-from none"
        raise UsageError(f"--split-from {chosen}", "a run, or its split.csv", "no such file", fix=fix)
    splits: dict[str, SplitName] = {}
    groups: dict[str, SplitName] = {}
    rows = _rows(path, fix=REDRAW)
    for row in rows:
        split = SPLITS[SPLITS.index(row["split"])]
        splits[row["sha256"]] = split
        if row["group"]:
            groups[row["group"]] = split
    looks = _looks_at_test(path.with_name("run.json"), rows)
    return Remembered(source=path, splits=splits, groups=groups, test_looks=looks)


def _looks_at_test(run_json: Path, rows: Sequence[dict[str, str]]) -> int:
    """Return how often the test split of a run was evaluated, if `rows` are its split."""
    if not run_json.is_file():  # it was never finished: nobody has looked at test
        return 0
    try:
        run = read_json(run_json)
        looks, expected = int(run["test_looks"]), run["data"]["split_digest"]
    except (RunError, KeyError, TypeError, ValueError) as error:
        raise RunError(str(run_json), "the readable record of a run", f"{error!s:.80}", fix=REDRAW) from error
    if split_digest([row["sha256"], row["split"]] for row in rows) != expected:
        what, must = str(run_json.with_name("split.csv")), "the split that run.json was written with"
        raise RunError(what, must, "another one", fix=REDRAW)
    return looks


def samples_of(folder: RunFolder, run: Run) -> tuple[Sample, ...]:
    """Return the images of a run, where they are now; whoever decodes them compares their digests.

    Raises:
        RunError: The split is missing or damaged, or images are not there.
    """
    if folder.data is None:
        return read_split(folder.split_csv, run.classes)
    if not folder.data.is_dir():
        raise UsageError(f"--data {folder.data}", "a folder", "none", fix="--data with the folder of class folders")
    source = Path(run.config["data"])
    before = source.parent if source.suffix.lower() == ".csv" else source
    return read_split(folder.split_csv, run.classes, moved=(before, folder.data))


def read_split(path: Path, classes: Sequence[str], *, moved: tuple[Path, Path] | None = None) -> tuple[Sample, ...]:
    """Read the images of a run.

    Args:
        path: The file.
        classes: Of the run.
        moved: The folder the images lay in, and the one they are in now.

    Raises:
        RunError: The file is missing or damaged, or images it names are gone.
    """
    samples = tuple(_sample(row, classes) for row in _rows(path, classes, fix="edgetl finetune DATA --out RUN --force"))
    if moved is not None:
        samples = tuple(dataclasses.replace(s, path=_moved(s.path, *moved)) for s in samples)
    gone = [s.path for s in samples if not s.path.is_file()]
    if gone:
        got = f"{len(gone)} images gone, the first {gone[0]}"
        fix = "move them back; or, where they were moved, edgetl deploy RUN --data FOLDER"
        raise RunError("the run's images", "where they were", got, fix=fix)
    return samples


def _moved(path: Path, before: Path, now: Path) -> Path:
    for root in (before, before.resolve()):
        if path.is_relative_to(root):
            return now / path.relative_to(root)
    must, got = f"below {before}, to be found below {now}", str(path)
    raise RunError("an image of the run", must, got, fix="move the images back to where they were")


def _rows(path: Path, classes: Sequence[str] | None = None, *, fix: str) -> list[dict[str, str]]:
    """Return the rows, each with every column and values that can be read."""
    rows: list[dict[str, str]] = []
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for line, row in enumerate(csv.DictReader(file), 2):
                wrong = _wrong(row, classes)
                if wrong:
                    raise RunError(str(path), "a split as edgetl writes it", f"in line {line} {wrong}", fix=fix)
                rows.append(row)
    except (OSError, csv.Error) as error:
        if isinstance(error, OSError):
            raise unreadable(RunError, str(path), error, path=path) from error
        raise RunError(str(path), "well-formed CSV", str(error), fix=fix) from error
    if not rows:
        raise RunError(str(path), "a split with images", "none", fix=fix)
    return rows


def _wrong(row: dict[str, str], classes: Sequence[str] | None) -> str:
    """Say what a row lacks, or nothing."""
    missing = [name for name in COLUMNS if row.get(name) is None]
    if missing:
        return f"no {missing[0]}"
    if row["split"] not in SPLITS:
        return f"the split {row['split']!r}"
    if classes is not None and row["label"] not in classes:
        return f"the label {row['label']!r}, which is no class of the run"
    try:
        float(row["certainty"])
    except ValueError:
        return f"the certainty {row['certainty']!r}"
    return ""


def _sample(row: dict[str, str], classes: Sequence[str]) -> Sample:
    return Sample(
        path=Path(row["path"]),
        label=classes.index(row["label"]),
        split=row["split"],  # type: ignore[arg-type]
        group=row["group"] or None,
        certainty=float(row["certainty"]),
        sha256=row["sha256"],
    )
