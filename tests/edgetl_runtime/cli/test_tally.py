"""Counts of decisions, against labels that the folders give."""

from __future__ import annotations

from pathlib import Path

from edgetl_runtime.cli.tally import label_of, tally, tally_lines
from edgetl_runtime.tasks import inspection


def test_the_nearest_folder_named_like_a_class_is_the_label_up_to_the_folder_given():
    classes = ("crack", "ok")
    assert label_of(Path("parts/crack/lot1/a.png"), Path("parts"), classes) == "crack"
    assert label_of(Path("ok/crack/a.png"), Path("ok"), classes) == "crack"
    assert label_of(Path("parts/ok/a.png"), Path("parts/ok"), classes) == "ok"
    assert label_of(Path("ok/parts/a.png"), Path("ok/parts"), classes) is None


def test_escapes_overkill_and_unsure_are_counted_apart():
    found = [("ok", "OK"), ("ok", "NOK"), ("crack", "UNSURE"), ("ok", "OK")]
    decisions = [
        inspection.Decision(label=label, verdict=verdict, score=0.9, scores={}, defect_score=0.5)
        for label, verdict in found
    ]
    labels = inspection.Labels(classes=("crack", "ok"), defect_classes=("crack",))
    truth = ["crack", "ok", "ok", None]
    summary = tally(inspection.TASK, labels, list(zip(decisions, truth, strict=True)))
    assert summary["verdicts"] == {"OK": 2, "NOK": 1, "UNSURE": 1}
    known = summary["labelled"]
    assert (known["n"], known["escapes"], known["overkill"], known["unsure"], known["correct_verdicts"]) == (
        3, 1, 1, 1, 0,
    )  # fmt: skip
    assert known["confusion"] == {"crack": {"crack": 0, "ok": 1}, "ok": {"crack": 1, "ok": 1}}
    assert "escapes 1 of 1 defects, overkill 1 of 2 good parts, 1 unsure" in "\n".join(tally_lines(summary))
    assert tally(inspection.TASK, labels, [(decision, None) for decision in decisions])["labelled"] is None
