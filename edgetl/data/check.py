"""What makes a data set unfit, found before a second of training is spent on it."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from edgetl.data.folder import Entry
from edgetl.data.samples import SPLITS, BadImage
from edgetl.errors import DataError
from edgetl.names import plain_form

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from edgetl.data.folder import Listing

FEWEST_PER_CLASS = 5
MOST_NAMED = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Images that must be repaired, or left out with `skip_bad`.

    Attributes:
        must: What images must be; completes "images must be …".
        images: The offending files; empty when there is no problem.
        kept: What can be used without them.
        fix: What mends it.
    """

    must: str
    images: tuple[BadImage, ...]
    kept: tuple[Entry, ...]
    fix: str

    def refuse(self, root: Path) -> None:
        """Raise a `DataError` naming the files, if there are any.

        Raises:
            DataError: There are offending files.
        """
        if not self.images:
            return
        words = named(f"{_below(root, image.path)} ({image.reason})" for image in self.images)
        got = f"{len(self.images)} that {'is' if len(self.images) == 1 else 'are'} not: {words}"
        fix = f"{self.fix}, or pass --skip-bad to go on without them"
        raise DataError(f"images of {root}", self.must, got, fix=fix)


def named(words: Iterable[str]) -> str:
    """Return up to five of the words, and how many more there are."""
    every = list(words)
    more = len(every) - MOST_NAMED
    return ", ".join(every[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def find_repeated_rows(entries: Sequence[Entry], root: Path) -> Problem:
    """Find files listed more than once; the first row stays unless the rows disagree."""
    rows: dict[Path, list[Entry]] = defaultdict(list)
    for entry in entries:
        rows[entry.path].append(entry)
    images = []
    kept = []
    for path, same in rows.items():
        agree = len({(e.label, e.split, e.group, e.certainty) for e in same}) == 1
        if agree:
            kept.append(same[0])
        if not agree:
            images.append(
                BadImage(path=path, reason=f"listed {len(same)} times, with different labels, splits or groups")
            )
        elif len(same) > 1:
            images.append(BadImage(path=path, reason=f"listed {len(same)} times, used once"))
    fix = f"delete the repeated rows of the CSV file in {root}"
    return Problem(must="listed once", images=tuple(images), kept=tuple(kept), fix=fix)


def find_contradictions(entries: Sequence[Entry], contents: Mapping[Path, str], root: Path) -> Problem:
    """Find equal files with different labels; nobody can say which label is right."""
    images = []
    for same in _by_content(entries, contents):
        for entry in same:
            other = next((e for e in same if e.label != entry.label), None)
            if other is not None:
                reason = f"labelled {entry.label}, same content as {_below(root, other.path)}, labelled {other.label}"
                images.append(BadImage(path=entry.path, reason=reason))
    fix = "delete the copies with the wrong label"
    return Problem(must="labelled once", images=tuple(images), kept=without(entries, images), fix=fix)


def find_leaks(entries: Sequence[Entry], contents: Mapping[Path, str], root: Path) -> Problem:
    """Find equal files in two given splits; the copy in test stays before that in val before that in train."""
    images = []
    for same in _by_content(entries, contents):
        given = {entry.split for entry in same}
        if len(given) < 2:
            continue
        kept = max(same, key=lambda entry: SPLITS.index(entry.split or "train"))
        images += [
            BadImage(path=e.path, reason=f"in {e.split}, same content as {_below(root, kept.path)} in {kept.split}")
            for e in same
            if e.split != kept.split
        ]
    return Problem(
        must="in one split only", images=tuple(images), kept=without(entries, images), fix="delete the copies"
    )


def without(entries: Sequence[Entry], images: Sequence[BadImage]) -> tuple[Entry, ...]:
    """Return the entries whose files are not among `images`."""
    out = {image.path for image in images}
    return tuple(entry for entry in entries if entry.path not in out)


def check_classes(listing: Listing, entries: Sequence[Entry]) -> None:
    """Refuse one class only, classes with too few images, and classes whose names say the same.

    Raises:
        DataError: Names the classes.
    """
    if len(listing.classes) < 2:
        raise DataError(
            f"data in {listing.root}",
            "of at least 2 classes",
            f"only {named(listing.classes)}",
            fix=f"mkdir {listing.root}/CLASS for each class, with its images",
        )
    same: dict[str, list[str]] = defaultdict(list)
    for name in listing.classes:
        same[plain_form(name)].append(name)
    twins = [names for names in same.values() if len(names) > 1]
    if twins:
        raise DataError(
            f"classes of {listing.root}",
            "different in more than case, spaces and dashes",
            named(" beside ".join(names) for names in twins),
            # like with like alone: another pairing would turn defects into good parts
            fix=f"put {'; '.join(' and '.join(names) for names in twins)} into one folder each, or rename what differs",
        )
    files: dict[str, list[Path]] = defaultdict(list)
    for entry in entries:
        files[entry.label].append(entry.path)
    few = [name for name in listing.classes if len(files[name]) < FEWEST_PER_CLASS]
    if few:
        got = "; ".join(f"{name} with {len(files[name])} ({_listed(listing.root, files[name])})" for name in few)
        must = f"given at least {FEWEST_PER_CLASS} usable images"
        fix = f"add images of {few[0]}, or take the class out"
        raise DataError(f"every class of {listing.root}", must, got, fix=fix)


def check_groups(listing: Listing, entries: Sequence[Entry]) -> None:
    """Refuse a group that the source puts into two splits.

    Raises:
        DataError: Names the groups.
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.group is not None and entry.split is not None:
            splits[entry.group].add(entry.split)
    torn = [f"{group} in {' and '.join(sorted(found))}" for group, found in sorted(splits.items()) if len(found) > 1]
    if torn:
        raise DataError(
            f"groups of {listing.root}",
            "in one split each",
            named(torn),
            fix="delete the split column: groups are then kept together",
        )


def check_split_classes(listing: Listing, entries: Sequence[Entry]) -> None:
    """Refuse a split that lacks a class: it could neither be learned nor judged.

    Raises:
        DataError: Names the splits and classes.
    """
    found = {(entry.split, entry.label) for entry in entries}
    missing = [f"no {name} in {split}" for split in SPLITS for name in listing.classes if (split, name) not in found]
    if missing:
        grouped = any(entry.group is not None for entry in entries)
        fix = "move images, or give no splits and let edgetl make them"
        got = named(missing)
        if grouped:
            fix = "divide the largest groups, add groups, or give a column split"
            got += "; " + "; ".join(_groups_of(name, entries) for name in listing.classes if _lacks(name, found))
        raise DataError(f"every split of {listing.root}", "given images of every class", got, fix=fix)


def _lacks(name: str, found: Collection[tuple[str | None, str]]) -> bool:
    return any((split, name) not in found for split in SPLITS)


def _groups_of(name: str, entries: Sequence[Entry]) -> str:
    """Say how the images of a class are spread over groups: a large one goes to one split as a whole."""
    sizes = Counter(e.group if e.group is not None else f"{e.path}" for e in entries if e.label == name)
    largest, count = sizes.most_common(1)[0]
    return f"images of {name} are in {len(sizes)} group{'' if len(sizes) == 1 else 's'} ({count} in {largest})"


def _by_content(entries: Sequence[Entry], contents: Mapping[Path, str]) -> list[list[Entry]]:
    same: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        same[contents[entry.path]].append(entry)
    return [group for group in same.values() if len(group) > 1]


def _listed(root: Path, files: list[Path]) -> str:
    return named(_below(root, file) for file in files) or "no file"


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
