"""`predictions.csv` of a run as the report needs it: one row an image, and the errors among them."""

from __future__ import annotations

import csv
import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgetl.run import Run


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One evaluated image.

    Attributes:
        path: The file.
        split: `val` or `test`.
        label: True class.
        predicted: Class with the highest probability.
        score: That probability, 0 to 1.
        defect_score: Sum of the probabilities of the defect classes, 0 to 1.
        verdict: OK, NOK or UNSURE.
        defective: Whether the true class is a defect.
    """

    path: str
    split: str
    label: str
    predicted: str
    score: float
    defect_score: float
    verdict: str
    defective: bool

    @property
    def kind(self) -> str:
        """`escape`, `overkill`, `wrong class`, or nothing for a right decision."""
        if self.defective and self.verdict == "OK":
            return "escape"
        if not self.defective and self.verdict == "NOK":
            return "overkill"
        return "wrong class" if self.predicted != self.label else ""


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
        score, defect_score = float(row["score"]), float(row["defect_score"])
        if row["label"] not in run.classes or not (math.isfinite(score) and math.isfinite(defect_score)):
            return None
        return Prediction(
            path=row["path"],
            split=row["split"],
            label=row["label"],
            predicted=row["predicted"],
            score=score,
            defect_score=defect_score,
            verdict=row["verdict"],
            defective=row["label"] in run.defect_classes,
        )
    except (KeyError, ValueError, TypeError):
        return None


def worst_errors(rows: Sequence[Prediction], *, most: int) -> tuple[list[Prediction], int]:
    """Return the errors that matter most, and how many there are in all.

    Escapes come first, the surest one leading: they leave the plant. Then good parts that are rejected, then right
    verdicts with a wrong class, each with the surest one leading.
    """
    wrong = [row for row in rows if row.kind]
    kinds = ("escape", "overkill", "wrong class")
    sure = {
        "escape": lambda r: r.defect_score,
        "overkill": lambda r: -r.defect_score,
        "wrong class": lambda r: -r.score,
    }
    wrong.sort(key=lambda r: (kinds.index(r.kind), sure[r.kind](r), r.path))
    return wrong[:most], len(wrong)


def roc_curve(rows: Sequence[Prediction]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return (overkill rate, detection rate) for every threshold, from strict to loose; None if one kind is missing."""
    scores = np.array([r.defect_score for r in rows], np.float64)
    defective = np.array([r.defective for r in rows], np.bool_)
    if not len(rows) or defective.all() or not defective.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # ties move together
    found = np.cumsum(defective[order])[ends] / defective.sum()
    rejected = np.cumsum(~defective[order])[ends] / (~defective).sum()
    return np.append(0.0, rejected), np.append(0.0, found)


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
