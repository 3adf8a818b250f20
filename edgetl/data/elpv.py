"""The elpv solar cells (PyPI `elpv-dataset`) as a CSV data set.

The images are CC BY-NC-SA 4.0: not for commercial use. They stay in the installed package; nothing is copied.

References:
    Deitsch et al., Automatic classification of defective photovoltaic module cells in electroluminescence images,
    Solar Energy 185, 2019.
"""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.data.splits import carve, make_splits
from edgetl.errors import DataError
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

LICENCE = "CC BY-NC-SA 4.0 (non-commercial)"
COLUMNS = ("path", "label", "split", "certainty", "cell_type")
DEFECTIVE_FROM = 0.5


def write_elpv_csv(
    out_dir: Path, *, seed: int, limit: int | None = None, val_fraction: float = 0.15, test_fraction: float = 0.25
) -> Path:
    """Write `elpv.csv` for `load_dataset`: functional and defective cells, split by label and cell type.

    The certainty of a label is how far the annotated probability of a defect lies on its side: 1 for 0 and 1, 2/3 for
    1/3 and 2/3.

    Args:
        out_dir: Made where it does not exist; an existing `elpv.csv` in it is replaced.
        seed: Of the splits and, with `limit`, of the choice.
        limit: Number of images, chosen by label and cell type; None takes all 2,624.
        val_fraction: Share of the training part.
        test_fraction: Share of all images.

    Returns:
        The file written.

    Raises:
        DataError: The package is not installed.
        UsageError: `limit` is out of range.
    """
    rows = _annotations()
    if limit is not None:
        if not 40 <= limit <= len(rows):
            raise UsageError("limit", f"from 40 to {len(rows)}", str(limit), fix="limit = 400")
        if limit < len(rows):
            rows = [rows[i] for i in carve(_strata(rows), range(len(rows)), fraction=limit / len(rows), seed=seed)]
    splits = make_splits(
        _strata(rows), range(len(rows)), seed=seed, val_fraction=val_fraction, test_fraction=test_fraction
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    file = out_dir / "elpv.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for (path, probability, cell_type), split in zip(rows, splits, strict=True):
            certainty = max(probability, 1 - probability)
            writer.writerow((path, _label(probability), split, f"{certainty:.4f}", cell_type))
    return file


def _annotations() -> list[tuple[str, float, str]]:
    """Return (absolute path, probability of a defect, cell type) of every image, in the package's order."""
    found = importlib.util.find_spec("elpv_dataset")  # located, not imported: its import needs Pillow
    if found is None or found.origin is None:
        raise DataError("elpv-dataset", "installed", "no such package", fix='pip install "edgetl[quickstart]"')
    folder = Path(found.origin).parent / "data"
    words = [line.split() for line in (folder / "labels.csv").read_text(encoding="utf-8").splitlines() if line.strip()]
    return [(str(folder / path), float(probability), cell_type) for path, probability, cell_type in words]


def _strata(rows: Sequence[tuple[str, float, str]]) -> list[tuple[str, str]]:
    return [(_label(probability), cell_type) for _, probability, cell_type in rows]


def _label(probability: float) -> str:
    return "defective" if probability >= DEFECTIVE_FROM else "functional"
