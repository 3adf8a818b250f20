from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgetl import tasks
from edgetl.report.predictions import Prediction, read_predictions, reliability, worst_errors
from edgetl_runtime.tasks.inspection import Labels

if TYPE_CHECKING:
    from collections.abc import Callable


LABELS = Labels(classes=("bad", "ok", "other"), defect_classes=("bad",))


def row(
    *, defect_score: float, defective: bool, verdict: str = "OK", score: float = 0.9, right: bool = True
) -> Prediction:
    label = "bad" if defective else "ok"
    answer = label if right else "other"
    return Prediction(
        path=f"{defect_score}",
        split="test",
        label=label,
        predicted=answer,
        score=score,
        verdict=verdict,
        mistake=tasks.get("inspection").mistake(LABELS, truth=label, answer=answer, verdict=verdict),
        details={"defect_score": defect_score},
    )


def test_worst_errors_puts_the_surest_escape_first(fake_run: Callable) -> None:
    rows = [
        row(defect_score=0.9, defective=False, verdict="NOK", score=0.9, right=False),
        row(defect_score=0.3, defective=True, verdict="OK"),
        row(defect_score=0.1, defective=True, verdict="OK"),
        row(defect_score=0.99, defective=True, verdict="NOK", score=0.99, right=False),
        row(defect_score=0.0, defective=False),
    ]
    worst, total = worst_errors(rows, fake_run().run, most=3)
    assert [(r.details["defect_score"], r.mistake) for r in worst] == [
        (0.1, "escape"),
        (0.3, "escape"),
        (0.9, "overkill"),
    ]
    assert total == 4


def test_reliability_compares_confidence_with_accuracy() -> None:
    rows = [
        row(defect_score=0, defective=False, score=s, right=r) for s, r in ((0.52, True), (0.58, False), (1.0, True))
    ]
    assert reliability(rows) == [(pytest.approx(0.55), 0.5, 2), (1.0, 1.0, 1)]


def test_read_predictions_agrees_with_the_metrics(fake_run: Callable) -> None:
    fake = fake_run(separation=1.0)
    rows = [r for r in read_predictions(fake.folder.predictions, fake.run) if r.split == "test"]
    kinds = [r.mistake for r in rows]
    assert kinds.count("escape") == fake.run.test["escapes"]
    assert kinds.count("overkill") == fake.run.test["overkill"]
    assert np.mean([r.predicted == r.label for r in rows]) == pytest.approx(fake.run.test["accuracy"])


def test_read_predictions_passes_over_damaged_rows(fake_run: Callable) -> None:
    fake = fake_run()
    good = len(read_predictions(fake.folder.predictions, fake.run))
    with fake.folder.predictions.open("a", encoding="utf-8") as file:
        file.write("x,test,ok,ok,nan,OK,0.1\nx,test,ok,ok,0.9,OK,nan\nx,test,unknown,ok,0.9,OK,0.1\nx,test,ok\n")
    assert len(read_predictions(fake.folder.predictions, fake.run)) == good == 80
