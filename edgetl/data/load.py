"""Load a data set and refuse it, naming the files, where it would spoil training or evaluation."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Literal

from edgetl.data.check import (
    Problem,
    check_classes,
    check_groups,
    check_split_classes,
    find_contradictions,
    find_leaks,
    find_repeated_rows,
    without,
)
from edgetl.data.folder import Entry, Listing, list_folder
from edgetl.data.pool import work_through
from edgetl.data.samples import BadImage, Dataset, Sample
from edgetl.data.splits import make_splits
from edgetl.data.table import list_csv
from edgetl_runtime.decode import decode
from edgetl_runtime.errors import ImageError, UsageError
from edgetl_runtime.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edgetl.data.samples import Progress

BitDepth = Literal[8, 10, 12, 14, 16]


def list_source(source: Path) -> Listing:
    """List class folders or a CSV file without opening an image: what is wrong at first sight is said at once.

    Raises:
        DataError: There is nothing to read, or too few images or classes.
    """
    listing = list_csv(source) if source.suffix.lower() == ".csv" else list_folder(source)
    check_classes(listing, listing.entries)
    return listing


def load_dataset(
    source: Path,
    *,
    bit_depth: BitDepth = 8,
    seed: int = 0,
    val_fraction: float = 0.15,
    test_fraction: float = 0.25,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read class folders or a CSV file; decode every image once to be sure of it.

    Splits the source gives are kept; a missing one is carved out of the training part.

    Args:
        source: A folder of class folders, with or without train, val and test above them; or a CSV file.
        bit_depth: Bits per channel that carry the picture.
        seed: Of the splits made here.
        val_fraction: Share of what is left after test was taken, where the source gives no validation split.
        test_fraction: Share of the training part, where the source gives no test split.
        skip_bad: Go on without unreadable, repeated, leaking and contradictory images, and list them in `Dataset.bad`.
        progress: Called with (done, total) while images are decoded.

    Raises:
        DataError: The source cannot be used as it is; names up to five files.
        UsageError: A fraction is not between 0 and 1.
    """
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 < value < 1:
            raise UsageError(name, "between 0 and 1", str(value), fix=f"{name} = 0.2")
    listing = list_source(source)  # classes are checked before the long scan, and once more after it
    entries, contents, bad = _usable(listing, bit_depth=bit_depth, skip_bad=skip_bad, progress=progress)
    check_classes(listing, entries)
    check_groups(listing, entries)
    entries = _fill_splits(entries, contents, seed=seed, val_fraction=val_fraction, test_fraction=test_fraction)
    check_split_classes(listing, entries)
    return Dataset(
        root=listing.root,
        classes=listing.classes,
        samples=tuple(_sample(entry, contents[entry.path], listing.classes) for entry in entries),
        bad=tuple(sorted(bad, key=lambda image: image.path)),
        ignored=listing.ignored,
        notes=(*listing.notes, *_copies(entries, contents)),
    )


def _usable(
    listing: Listing, *, bit_depth: BitDepth, skip_bad: bool, progress: Progress | None
) -> tuple[list[Entry], dict[Path, str], list[BadImage]]:
    """Return the entries that can be used, the sha256 of each file, and what was left out."""
    root = listing.root
    entries = list(listing.entries)
    bad: list[BadImage] = []

    def settle(problem: Problem) -> None:
        if not skip_bad:
            problem.refuse(root)
        bad.extend(problem.images)
        entries[:] = problem.kept

    settle(find_repeated_rows(entries, root))
    contents, unreadable = _scan(entries, bit_depth, progress)
    settle(unreadable)
    settle(find_contradictions(entries, contents, root))
    settle(find_leaks(entries, contents, root))
    return entries, contents, bad


def _scan(entries: Sequence[Entry], bit_depth: BitDepth, progress: Progress | None) -> tuple[dict[Path, str], Problem]:
    """Hash and fully decode every file."""
    spec = PreprocessSpec(width_px=32, height_px=32, bit_depth=bit_depth, decode_scale=1)

    def examine(entry: Entry) -> str | ImageError:
        try:
            data = entry.path.read_bytes()
            decode(data, spec)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return ImageError(str(entry.path), "a readable file", reason, fix="check the path")
        except ImageError as error:
            return error
        return hashlib.sha256(data).hexdigest()

    results = work_through(examine, entries, progress=progress)
    contents: dict[Path, str] = {}
    images: list[BadImage] = []
    fix = "repair or delete them"
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, str):
            contents[entry.path] = result
        else:
            fix = result.fix if not images else fix
            images.append(BadImage(path=entry.path, reason=result.got))
    return contents, Problem(must="readable", images=tuple(images), kept=without(entries, images), fix=fix)


def _fill_splits(
    entries: Sequence[Entry], contents: Mapping[Path, str], *, seed: int, val_fraction: float, test_fraction: float
) -> list[Entry]:
    given = {entry.split for entry in entries}
    free = [i for i, entry in enumerate(entries) if entry.split in (None, "train")]
    made = make_splits(
        [entries[i].label for i in free],
        _bound_together([entries[i] for i in free], contents),
        seed=seed,
        val_fraction=0 if "val" in given else val_fraction,
        test_fraction=0 if "test" in given else test_fraction,
    )
    filled = list(entries)
    for i, split in zip(free, made, strict=True):
        filled[i] = dataclasses.replace(entries[i], split=split)
    return filled


def _bound_together(entries: Sequence[Entry], contents: Mapping[Path, str]) -> list[str]:
    """Return a name for every entry that is the same where group or content is, over any number of steps."""
    parent: dict[str, str] = {}

    def top(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for entry in entries:
        if entry.group is not None:
            parent[top("content " + contents[entry.path])] = top("group " + entry.group)
    return [top("content " + contents[entry.path]) for entry in entries]


def _copies(entries: Sequence[Entry], contents: Mapping[Path, str]) -> Iterator[str]:
    """Say how many images are there more than once; they stay in one split."""
    number = len(entries) - len({contents[entry.path] for entry in entries})
    if number:
        yield (
            f"{number} image{'s are copies' if number > 1 else ' is a copy'} of another one of the same class: kept in "
            "one split, and one part where bounds are stated; delete them to count every part once everywhere"
        )


def _sample(entry: Entry, sha256: str, classes: tuple[str, ...]) -> Sample:
    return Sample(
        path=entry.path,
        label=classes.index(entry.label),
        split=entry.split or "train",
        sha256=sha256,
        group=entry.group,
        certainty=entry.certainty,
    )
