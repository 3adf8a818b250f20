"""What a data set is: labelled image files, each in one split."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    # called with (done, total) from the calling thread
    Progress = Callable[[int, int], None]

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled image file.

    Attributes:
        path: The file, absolute.
        label: Index into the data set's classes.
        split: What the image may be used for.
        sha256: Of the file's bytes, hexadecimal.
        group: Part, lot or session; images of one group are never in two splits.
        certainty: Probability that the label is right, 0.5 to 1, where annotators disagree; softens the training
            target only.
    """

    path: Path
    label: int
    split: SplitName
    sha256: str
    group: str | None = None
    certainty: float = 1.0

    @property
    def unit(self) -> str:
        """What an image stands for where parts are counted: its group, else its content."""
        return f"group {self.group}" if self.group is not None else self.sha256


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The split that an earlier run gave to images and groups.

    Attributes:
        source: Its split.csv.
        splits: SHA-256 of an image to its split.
        groups: Name of a group to its split.
        test_looks: How often that run's test split was evaluated.
    """

    source: Path
    splits: Mapping[str, SplitName]
    groups: Mapping[str, SplitName]
    test_looks: int = 0

    def looks_at(self, samples: Sequence[Sample]) -> int:
        """Return how often any of these test images was evaluated before."""
        known = any(self.splits.get(sample.sha256) == "test" for sample in samples)
        return self.test_looks if known else 0


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Choose a few samples that stand for all: the classes in turn, each taken evenly from its own list.

    The first images of a split are of one class, one lot and one size; what is timed, measured or compared on them
    says little about the others.

    Args:
        samples: At least one.
        count: How many to choose; all are taken where there are fewer.

    Example:
        >>> parts = [Sample(path=Path(f"{i}.png"), label=i // 4, split="val", sha256="") for i in range(8)]
        >>> [s.path.stem for s in spread(parts, 4)]
        ['1', '5', '3', '7']
    """
    by_class: dict[int, list[Sample]] = {}
    for sample in samples:
        by_class.setdefault(sample.label, []).append(sample)
    shares = dict.fromkeys(sorted(by_class), 0)
    while sum(shares.values()) < min(count, len(samples)):
        for label in [name for name in shares if shares[name] < len(by_class[name])]:
            shares[label] += sum(shares.values()) < count
    turns = [_evenly(by_class[label], share) for label, share in shares.items()]
    return [turn[i] for i in range(max(shares.values(), default=0)) for turn in turns if i < len(turn)]


def _evenly(samples: Sequence[Sample], count: int) -> list[Sample]:
    return [samples[(2 * i + 1) * len(samples) // (2 * count)] for i in range(count)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BadImage:
    """A file left out of the data set, and why."""

    path: Path
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled images in three splits, checked.

    Attributes:
        root: The folder, or the folder of the CSV file.
        classes: Class names, sorted; a label is an index into them.
        samples: Every usable image, ordered by path.
        bad: Images left out with `skip_bad`.
        ignored: Number of files that are not images, by their extension, or lie outside the class folders.
        notes: What a person may have meant otherwise, one sentence each.
    """

    root: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    bad: tuple[BadImage, ...] = ()
    ignored: int = 0
    notes: tuple[str, ...] = ()

    def split(self, name: SplitName) -> tuple[Sample, ...]:
        """Return the samples of one split, ordered by path."""
        return tuple(sample for sample in self.samples if sample.split == name)

    def name_of(self, sample: Sample) -> str:
        """Return a sample's path below the root; its file name where it lies elsewhere.

        The same files give the same names on every machine.
        """
        if sample.path.is_relative_to(self.root):
            return sample.path.relative_to(self.root).as_posix()
        return sample.path.name

    @property
    def digest(self) -> str:
        """sha256 over the sorted names, contents, class names and splits; independent of where the root lies."""
        return _digest([[self.name_of(s), s.sha256, self.classes[s.label], s.split] for s in self.samples])

    @property
    def split_digest(self) -> str:
        """sha256 over which content is in which split, whatever the files are called."""
        return split_digest([s.sha256, s.split] for s in self.samples)


def split_digest(rows: Iterable[list[str]]) -> str:
    """Return the digest that a run records of its split.

    Args:
        rows: Content digest and split of every image, in any order.
    """
    return _digest(rows)


def _digest(rows: Iterable[list[str]]) -> str:
    digest = hashlib.sha256()
    for row in sorted(rows):
        # NUL cannot occur in a file name, so no two different rows give the same bytes
        digest.update(b"\0".join(os.fsencode(word) for word in row) + b"\n")
    return digest.hexdigest()
