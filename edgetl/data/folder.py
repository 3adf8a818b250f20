"""Find labelled images in class folders."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.data.samples import SplitName
from edgetl.errors import DataError
from edgetl_runtime.image_files import SUFFIXES, is_image_name

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        ignored: Number of files passed over.
    """

    root: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    ignored: int = 0


def list_folder(root: Path) -> Listing:
    """List the images below `root/<class>/` or `root/<train|val|test>/<class>/`.

    Class folders are searched to any depth and symbolic links are followed, each folder once. With split folders,
    whatever lies beside them is only counted. Hidden files and folders are never looked at.

    Raises:
        DataError: A folder cannot be read, or there are no class folders with images.
    """
    root = root.absolute()
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
    ignored = sum(1 for folder in (root, *splits) for _ in _loose_files(folder))
    ignored += sum(len(images) + others for images, others in map(_walk, beside))
    for home, split in homes:
        images, others = _walk(home)
        entries += [Entry(path=path, label=home.name, split=split) for path in images]
        ignored += others
    if not entries:
        raise DataError(
            f"folder {root}", "filled with class folders of images", f"no image in {len(homes)} class folders",
            fix=f"put images ({', '.join(SUFFIXES)}) into {root}/<class>/",
        )  # fmt: skip
    entries.sort(key=lambda entry: entry.path)
    return Listing(
        root=root,
        classes=tuple(sorted({home.name for home, _ in homes})),
        entries=tuple(entries),
        ignored=ignored,
    )


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


def _unreadable(folder: Path, error: OSError) -> DataError:
    reason = error.strerror or type(error).__name__
    return DataError(f"folder {folder}", "a readable folder", reason, fix="check the path and its permissions")


def _walk(home: Path) -> tuple[list[Path], int]:
    """Return the images below a class folder and the number of other files; loops of links end by themselves."""

    def stop(error: OSError) -> None:
        raise _unreadable(Path(error.filename or home), error) from error

    images: list[Path] = []
    others = 0
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
            if is_image_name(Path(name)):
                images.append(Path(where) / name)
            else:
                others += 1
    return images, others
