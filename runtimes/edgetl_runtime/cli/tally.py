"""What many decisions come to: verdicts counted, and beside the true classes where the folders name them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgetl_runtime import durable
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edgetl_runtime.tasks.base import Decision, Task

BEFORE, AFTER = ("image", "label", "class", "score"), ("verdict", "total_ms", "error")


def label_of(image: Path, folder: Path, classes: Sequence[str]) -> str | None:
    """Return the class that the nearest folder around an image is named like, up to the folder that was given."""
    for parent in image.parents:
        if parent.name in classes:
            return parent.name
        if parent == folder:
            break
    return None


def tally(task: Task[Any, Any, Any], known: Any, found: Sequence[tuple[Decision, str | None]]) -> dict[str, Any]:  # noqa: ANN401
    """Count decisions.

    Args:
        task: Of the bundle.
        known: Its labels.
        found: Decisions, each with its true class; None where nobody knows it.

    Returns:
        `n`, `verdicts`, and `labelled`: None where no true class is known, else what the task counts of those that
        have one, `told`, the same in words, `correct_verdicts` and `confusion`.
    """
    counts = Counter(decision.verdict for decision, _ in found)
    pairs = [(truth, decision) for decision, truth in found if truth is not None]
    labelled = None
    if pairs:
        counted = task.count(known, truth=[truth for truth, _ in pairs], found=[decision for _, decision in pairs])
        table = Counter((truth, decision.label) for truth, decision in pairs)
        classes = task.classes(known)
        labelled = {
            **counted,
            "told": task.tell(counted),
            "correct_verdicts": sum(d.verdict == task.right_verdict(known, truth) for truth, d in pairs),
            "confusion": {truth: {found: table[truth, found] for found in classes} for truth in classes},
        }
    return {"n": len(found), "verdicts": {name: counts[name] for name in task.verdicts(known)}, "labelled": labelled}


def tally_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the counts for people."""
    yield f"{summary['n']} images: " + ", ".join(f"{n} {name}" for name, n in summary["verdicts"].items())
    known = summary["labelled"]
    if known is None:
        return
    n = known["n"]
    rest = "" if n == summary["n"] else f" ({summary['n'] - n} images lie in no folder named like a class)"
    right = f"right verdict {known['correct_verdicts'] / n:.4f}, {known['told']}; right class {known['accuracy']:.4f}"
    yield f"against the {n} labelled{rest}: {right}"
    classes = list(known["confusion"])
    widths = [max(6, len(name)) for name in classes]
    corner = "true, found"
    first = max(len(corner), *map(len, classes))
    yield "  ".join([f"{corner:<{first}}", *(f"{c:>{w}}" for c, w in zip(classes, widths, strict=True))])
    for true, row in known["confusion"].items():
        cells = (f"{row[found]:>{width}}" for found, width in zip(classes, widths, strict=True))
        yield "  ".join([f"{true:<{first}}", *cells])


def check_csv(path: Path) -> None:
    """Refuse a file that cannot be the table, before any work; an older table is replaced.

    Raises:
        UsageError: It is not called .csv, is a folder, or its folder does not exist.
    """
    if path.suffix.lower() != ".csv" or path.is_dir():
        raise UsageError(f"--csv {path}", "a file that ends with .csv", "another", fix="--csv decisions.csv")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"--csv {path}", "in an existing folder", "a missing one", fix=f"mkdir -p {path.parent}")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], *, details: Sequence[str]) -> None:
    """Write a table with one row for each image, whole or not at all; `details` are further scores of the task."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*BEFORE, *details, *AFTER), restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    durable.write_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))  # names of files may hold any byte
