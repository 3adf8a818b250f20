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
    named,
    without,
)
from edgetl.data.folder import Entry, Listing, list_folder
from edgetl.data.pool import work_through
from edgetl.data.samples import BadImage, Dataset, Sample
from edgetl.data.splits import make_splits
from edgetl.data.table import list_csv
from edgetl.errors import DataError
from edgetl_runtime.decode import decode
from edgetl_runtime.errors import EdgetlError, ImageError, UsageError, unreadable
from edgetl_runtime.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edgetl.data.samples import Progress, Remembered, SplitName

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
    remembered: Remembered | None = None,
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
        remembered: The split of an earlier run: images and groups it knows keep theirs, new groups alone are drawn.
        progress: Called with (done, total) while images are decoded.

    Raises:
        DataError: The source cannot be used as it is, or joins what an earlier run split; names up to five files.
        UsageError: A fraction is not between 0 and 1.
    """
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 < value < 1:
            raise UsageError(name, "between 0 and 1", str(value), fix=f"{name} = 0.2")
    listing = list_source(source)  # classes are checked before the long scan, and once more after it
    entries, contents, bad, brightest = _usable(listing, bit_depth=bit_depth, skip_bad=skip_bad, progress=progress)
    check_classes(listing, entries)
    check_groups(listing, entries)
    free = {i: entry for i, entry in enumerate(entries) if entry.split in (None, "train")}
    names = dict(zip(free, _bound_together(list(free.values()), contents), strict=True))
    kept = {} if remembered is None else _remembered(entries, names, contents, remembered, root=listing.root)
    entries = _fill_splits(entries, names, kept, seed=seed, val_fraction=val_fraction, test_fraction=test_fraction)
    check_split_classes(listing, entries)
    return Dataset(
        root=listing.root,
        classes=listing.classes,
        samples=tuple(_sample(entry, contents[entry.path], listing.classes) for entry in entries),
        bad=tuple(sorted(bad, key=lambda image: image.path)),
        ignored=listing.ignored,
        notes=(
            *listing.notes,
            *_copies(entries, contents),
            *_kept(remembered, len(kept), len(free)),
            *_dark(brightest, bit_depth),
        ),
    )


def _usable(
    listing: Listing, *, bit_depth: BitDepth, skip_bad: bool, progress: Progress | None
) -> tuple[list[Entry], dict[Path, str], list[BadImage], int]:
    """Return the entries that can be used, the sha256 of each file, what was left out, and the highest grey level."""
    root = listing.root
    entries = list(listing.entries)
    bad: list[BadImage] = []

    def settle(problem: Problem) -> None:
        if not skip_bad:
            problem.refuse(root)
        bad.extend(problem.images)
        entries[:] = problem.kept

    settle(find_repeated_rows(entries, root))
    contents, unreadable, brightest = _scan(entries, bit_depth, progress)
    settle(unreadable)
    settle(find_contradictions(entries, contents, root))
    settle(find_leaks(entries, contents, root))
    return entries, contents, bad, brightest


def _scan(
    entries: Sequence[Entry], bit_depth: BitDepth, progress: Progress | None
) -> tuple[dict[Path, str], Problem, int]:
    """Hash and fully decode every file; return also the highest grey level of all, of 255."""
    spec = PreprocessSpec(width_px=32, height_px=32, bit_depth=bit_depth, decode_scale=1)

    def examine(entry: Entry) -> tuple[str, int] | EdgetlError:
        try:
            data = entry.path.read_bytes()
            brightest = int(decode(data, spec).max(initial=0))
        except OSError as error:
            return unreadable(ImageError, str(entry.path), error, path=entry.path)
        except ImageError as error:
            return error
        return hashlib.sha256(data).hexdigest(), brightest

    results = work_through(examine, entries, progress=progress)
    contents: dict[Path, str] = {}
    images: list[BadImage] = []
    highest = 0
    fix = "repair or delete them"
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, tuple):
            contents[entry.path], level = result
            highest = max(highest, level)
        else:
            fix = result.fix if not images else fix
            images.append(BadImage(path=entry.path, reason=result.got))
    problem = Problem(must="readable", images=tuple(images), kept=without(entries, images), fix=fix)
    return contents, problem, highest


def _fill_splits(
    entries: Sequence[Entry],
    names: Mapping[int, str],
    kept: Mapping[int, SplitName],
    *,
    seed: int,
    val_fraction: float,
    test_fraction: float,
) -> list[Entry]:
    """Give every entry of `names` the split it is to keep; draw the others by what binds them together."""
    given = {entry.split for entry in entries}
    new = [i for i in names if i not in kept]
    made = make_splits(
        [entries[i].label for i in new],
        [names[i] for i in new],
        seed=seed,
        val_fraction=0 if "val" in given else val_fraction,
        test_fraction=0 if "test" in given else test_fraction,
    )
    filled = list(entries)
    for i, split in (*zip(new, made, strict=True), *kept.items()):
        filled[i] = dataclasses.replace(entries[i], split=split)
    return filled


def _remembered(
    entries: Sequence[Entry],
    names: Mapping[int, str],
    contents: Mapping[Path, str],
    remembered: Remembered,
    *,
    root: Path,
) -> dict[int, SplitName]:
    """Return the split of every entry that an earlier run, or a group it knew, decided.

    Raises:
        DataError: Images that belong together now were in two splits.
    """
    given = {entry.split for entry in entries}
    members: dict[str, list[int]] = {}
    for i, name in names.items():
        members.setdefault(name, []).append(i)
    kept: dict[int, SplitName] = {}
    for together in members.values():
        by = {i: remembered.splits.get(contents[entries[i].path]) for i in together}
        groups = {group for i in together if (group := entries[i].group) is not None}
        found = {split for split in by.values() if split} | {
            remembered.groups[group] for group in groups if group in remembered.groups
        }
        if len(found) > 1:
            joining = [entries[i].path for i in together if by[i] is None] or [entries[i].path for i in together]
            where = " and ".join(sorted(found))
            words = named(
                path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in joining
            )
            raise DataError(
                f"images of {root}",
                f"joining none that {remembered.source} has in two splits",
                f"{words}, which by group or content bind{'s' if len(joining) == 1 else ''} images of {where} together",
                fix="take them out, correct their group, or --split-from none to draw a new split",
            )
        split = next(iter(found), None)
        if split and (split == "train" or split not in given):
            kept |= dict.fromkeys(together, split)
    return kept


def _kept(remembered: Remembered | None, kept: int, free: int) -> Iterator[str]:
    if remembered is not None and kept:
        yield f"split kept as in {remembered.source} for {kept} of {free} images, drawn for {free - kept}"


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


def _dark(brightest: int, declared: int) -> Iterator[str]:
    """Say that a declared depth leaves the upper bits of every image empty; 12-bit data at depth 16 is near black."""
    used = declared - (8 - brightest.bit_length())
    if declared > 8 and used <= declared - 2:
        yield (
            f"no image has a value of more than {used} of the {declared} bits declared: the model sees them dark; "
            f"--bit-depth {max(used + used % 2, 8)} if that is the camera's depth"
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
