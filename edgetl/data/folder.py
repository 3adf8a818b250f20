"""Find labelled images in class folders."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.data.samples import SplitName
from edgetl.errors import DataError
from edgetl_runtime.errors import EdgetlError, unreadable
from edgetl_runtime.image_files import SUFFIXES, is_image_name

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_NAMED = 5
SPLIT_OF_FOLDER: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An image file as its source describes it, not yet opened.

    Attributes:
        path: The file, absolute.
        label: Name of its class.
        split: None where the source leaves it to us.
        group: None where the source names none.
        certainty: Probability that the label is right.
    """

    path: Path
    label: str
    split: SplitName | None
    group: str | None = None
    certainty: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a source lists.

    Attributes:
        root: Names in reports are given below it.
        classes: Every class the source knows, even one without images.
        entries: The images, ordered by path.
        ignored: Number of files that are not read.
        notes: What a person may have meant otherwise, one sentence each.
    """

    root: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    ignored: int = 0
    notes: tuple[str, ...] = ()


def list_folder(root: Path) -> Listing:
    """List the images below `root/<class>/`, `root/<train|val|test>/<class>/` or `root/<class>/<train|val|test>/`.

    Class folders are searched to any depth and symbolic links are followed, each folder once. With split folders,
    whatever lies next to them is only counted. Hidden files and folders are never looked at.

    Raises:
        DataError: A folder cannot be read, there are no class folders with images, or some images alone are split.
    """
    root = root.absolute()
    if root.is_file():
        fix = f"save it as {root.stem}.csv with the columns path,label"
        raise DataError(str(root), "a folder of class folders, or a CSV file", "a file", fix=fix)
    folders = _subfolders(root)
    splits = {name: SPLIT_OF_FOLDER[name.name.lower()] for name in folders if name.name.lower() in SPLIT_OF_FOLDER}
    if splits and "train" not in splits.values():
        raise DataError(f"folder {root}", "given a train folder", f"only {_names(splits)}", fix=f"mkdir {root}/train")
    homes: list[tuple[Path, SplitName | None]] = []
    beside: list[Path] = []
    for folder in folders:
        if folder in splits:
            homes += [(below, splits[folder]) for below in _subfolders(folder)]
        elif not splits:
            homes.append((folder, None))
        else:
            beside.append(folder)
    entries: list[Entry] = []
    others = [path for folder in (root, *splits) for path in _loose_files(folder)]
    extra = {folder.name: _walk(folder) for folder in beside}
    for home, split in homes:
        images, rest = _walk(home)
        entries += [Entry(path=path, label=home.name, split=split or _split_below(path, home)) for path in images]
        others += rest
    if not entries:
        raise DataError(
            f"folder {root}", "filled with class folders of images", f"no image in {len(homes)} class folders",
            fix=f"put images ({', '.join(SUFFIXES)}) into {root}/<class>/",
        )  # fmt: skip
    _check_all_split(root, entries)
    entries.sort(key=lambda entry: entry.path)
    return Listing(
        root=root,
        classes=tuple(sorted({home.name for home, _ in homes})),
        entries=tuple(entries),
        ignored=len(others) + sum(len(images) + len(rest) for images, rest in extra.values()),
        notes=(*_collapsed(homes, entries), *_ignored({n: images for n, (images, _) in extra.items()}, others)),
    )


def _split_below(path: Path, home: Path) -> SplitName | None:
    """Return the split that a folder between a class and its image names."""
    named = (SPLIT_OF_FOLDER.get(part.lower()) for part in path.relative_to(home).parts[:-1])
    return next((split for split in named if split), None)


def _check_all_split(root: Path, entries: list[Entry]) -> None:
    split = [entry.path for entry in entries if entry.split]
    free = [entry.path for entry in entries if not entry.split]
    if split and free:
        one, other = (paths[0].relative_to(root).as_posix() for paths in (split, free))
        got = f"{len(split)} that are, such as {one}, and {len(free)} that are not, such as {other}"
        fix = "put every image below a train, val or test folder, or give folders that are no splits other names"
        raise DataError(f"images of {root}", "in split folders all or none", got, fix=fix)


def _collapsed(homes: list[tuple[Path, SplitName | None]], entries: list[Entry]) -> Iterator[str]:
    """Say of every class that its subfolders are not classes; people sort defects below one folder."""
    below: dict[str, set[str]] = {}
    for home, _ in homes:
        inside = [e.path.relative_to(home).parts for e in entries if e.path.is_relative_to(home)]
        names = {next((part for part in parts[:-1] if part.lower() not in SPLIT_OF_FOLDER), "") for parts in inside}
        below.setdefault(home.name, set()).update(names - {""})
    for label, names in sorted(below.items()):
        if len(names) > 1:
            yield (
                f"class {label} is one class: its folders {_some(sorted(names))} are not told apart; "
                f"to make classes of them, move them next to {label}"
            )


def _ignored(extra: dict[str, list[Path]], others: list[Path]) -> Iterator[str]:
    for name, images in extra.items():
        yield f"ignored {_count(len(images), 'image')} in {name}, which is none of the split folders"
    if others:
        counts = Counter(path.suffix.lower() or "without a suffix" for path in others)
        words = _some([f"{count} {suffix}" for suffix, count in sorted(counts.items())])
        yield f"ignored {_count(len(others), 'file')} without the name of an image ({words})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _some(words: list[str]) -> str:
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _names(paths: dict[Path, SplitName]) -> str:
    return ", ".join(sorted(path.name for path in paths))


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in _listdir(folder) if path.is_dir() and not path.name.startswith("."))


def _loose_files(folder: Path) -> Iterator[Path]:
    return (path for path in _listdir(folder) if not path.name.startswith(".") and not path.is_dir())


def _listdir(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: OSError) -> EdgetlError:
    return unreadable(DataError, f"folder {folder}", error, path=folder, must="a readable folder")


def _walk(home: Path) -> tuple[list[Path], list[Path]]:
    """Return the images below a class folder and the other files; loops of links end by themselves."""

    def stop(error: OSError) -> None:
        raise _unreadable(Path(error.filename or home), error) from error

    images: list[Path] = []
    others: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for where, folders, files in os.walk(home, followlinks=True, onerror=stop):
        status = Path(where).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.startswith("."):
                continue
            (images if is_image_name(Path(name)) else others).append(Path(where) / name)
    return images, others
