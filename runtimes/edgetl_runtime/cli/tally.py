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

VERDICTS = ("OK", "NOK", "UNSURE")
COLUMNS = ("image", "label", "class", "score", "defect_score", "verdict", "total_ms", "error")


def label_of(image: Path, folder: Path, classes: Sequence[str]) -> str | None:
    """Return the class that the nearest folder around an image is named like, up to the folder that was given."""
    for parent in image.parents:
        if parent.name in classes:
            return parent.name
        if parent == folder:
            break
    return None


def tally(
    decisions: Sequence[Mapping[str, Any]],
    labels: Sequence[str | None],
    *,
    classes: Sequence[str],
    defect_classes: Sequence[str],
) -> dict[str, Any]:
    """Count decisions.

    Args:
        decisions: As `predict --json` prints them.
        labels: The true class of each; None where nobody knows it.
        classes: Of the bundle.
        defect_classes: Those of them that are defects.

    Returns:
        `n`, `verdicts`, and `labelled`: None where no true class is known, else figures of those that have one.
    """
    counts = Counter(str(decision["verdict"]) for decision in decisions)
    known = [(label, d["class"], d["verdict"]) for d, label in zip(decisions, labels, strict=True) if label is not None]
    labelled = None
    if known:
        pairs = Counter((label, found) for label, found, _ in known)
        labelled = {
            "n": len(known),
            "correct_verdicts": sum(verdict == _wanted(label, defect_classes) for label, _, verdict in known),
            "escapes": sum(label in defect_classes and verdict == "OK" for label, _, verdict in known),
            "n_defect": sum(label in defect_classes for label, _, _ in known),
            "overkill": sum(label not in defect_classes and verdict == "NOK" for label, _, verdict in known),
            "n_good": sum(label not in defect_classes for label, _, _ in known),
            "unsure": sum(verdict == "UNSURE" for _, _, verdict in known),
            "accuracy": sum(label == found for label, found, _ in known) / len(known),
            "confusion": {true: {found: pairs[true, found] for found in classes} for true in classes},
        }
    return {"n": len(decisions), "verdicts": {name: counts[name] for name in VERDICTS}, "labelled": labelled}


def _wanted(label: str, defect_classes: Sequence[str]) -> str:
    return "NOK" if label in defect_classes else "OK"


def tally_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the counts for people."""
    yield f"{summary['n']} images: " + ", ".join(f"{n} {name}" for name, n in summary["verdicts"].items())
    known = summary["labelled"]
    if known is None:
        return
    n = known["n"]
    rest = "" if n == summary["n"] else f" ({summary['n'] - n} images lie in no folder named like a class)"
    yield (
        f"against the {n} labelled{rest}: right verdict {known['correct_verdicts'] / n:.4f}, "
        f"escapes {known['escapes']} of {known['n_defect']} defects, overkill {known['overkill']} of "
        f"{known['n_good']} good, unsure {known['unsure']}; right class {known['accuracy']:.4f}"
    )
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


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table with one row for each image, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    durable.write_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))  # names of files may hold any byte
