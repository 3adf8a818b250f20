"""`predictions.csv` of a run as the report needs it: one row an image, and the errors among them."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgetl import tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgetl.run import Run

COLUMNS = ("path", "split", "label", "predicted", "score", "verdict")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One evaluated image.

    Attributes:
        path: The file.
        split: `val` or `test`.
        label: True class.
        predicted: Class with the highest probability.
        score: That probability, 0 to 1.
        verdict: What the station answers.
        mistake: What kind of mistake that is; empty for a right decision.
        details: Further scores of the task, name → value.
    """

    path: str
    split: str
    label: str
    predicted: str
    score: float
    verdict: str
    mistake: str
    details: Mapping[str, float]


def read_predictions(path: Path, run: Run) -> list[Prediction]:
    """Read the rows; none where the file is missing, and without those that are damaged."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = [_prediction(row, run) for row in csv.DictReader(file)]
    except (OSError, csv.Error):
        return []
    return [row for row in rows if row is not None]


def _prediction(row: dict[str, str], run: Run) -> Prediction | None:
    try:
        score = float(row["score"])
        details = {name: float(value) for name, value in row.items() if name not in COLUMNS}
        if row["label"] not in run.classes or not all(map(math.isfinite, (score, *details.values()))):
            return None
        label, predicted, verdict = row["label"], row["predicted"], row["verdict"]
        return Prediction(
            path=row["path"],
            split=row["split"],
            label=label,
            predicted=predicted,
            score=score,
            verdict=verdict,
            mistake=tasks.get(run.task).mistake(run.labels, truth=label, answer=predicted, verdict=verdict),
            details=details,
        )
    except (KeyError, ValueError, TypeError):
        return None


def worst_errors(rows: Sequence[Prediction], run: Run, *, most: int) -> tuple[list[Prediction], int]:
    """Return the errors that matter most, the gravest first, and how many there are in all."""
    task = tasks.get(run.task)
    wrong = [row for row in rows if row.mistake]
    wrong.sort(key=lambda r: (task.gravity(r.mistake, r.score, r.details), r.path))
    return wrong[:most], len(wrong)


def reliability(rows: Sequence[Prediction], *, bins: int = 10) -> list[tuple[float, float, int]]:
    """Return (mean confidence, accuracy, images) of every bin of confidence that holds images."""
    confidence = np.array([r.score for r in rows], np.float64)
    right = np.array([r.predicted == r.label for r in rows], np.float64)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        (float(confidence[which == b].mean()), float(right[which == b].mean()), int((which == b).sum()))
        for b in range(bins)
        if (which == b).any()
    ]
