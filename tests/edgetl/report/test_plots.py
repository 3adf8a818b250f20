from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from edgetl.report.plots import score_histograms, training_curves
from edgetl.report.predictions import read_predictions

if TYPE_CHECKING:
    from collections.abc import Callable


def texts(uri: str) -> list[str]:
    svg = ET.fromstring(base64.b64decode(uri.partition(",")[2]))
    return ["".join(e.itertext()) for e in svg.iter() if e.tag.endswith("}text")]


def test_training_curves_mark_phases_and_bear_missing_values() -> None:
    epochs = [{"phase": p, "epoch": 1, "train_loss": loss} for p, loss in (("top", 1.0), ("deep", None), ("deep", 0.5))]
    shown = texts(training_curves(epochs, {"val_log_loss": float("nan"), "val_accuracy": 0.9}))
    assert shown.count("top") == shown.count("deep") == 2
    assert shown.count("frozen baseline") == 2
    assert "frozen baseline" not in texts(training_curves(epochs[:1], None))


@pytest.mark.parametrize("name", ["$x$ & <b>", "$\\frac{$", "裂纹", "a" * 200])
def test_score_histograms_show_any_class_name(fake_run: Callable, name: str) -> None:
    fake = fake_run(classes=("ok", name), per_class=5)
    rows = [r for r in read_predictions(fake.folder.predictions, fake.run) if r.split == "test"]
    shown = texts(score_histograms(rows, fake.run))
    assert (name if len(name) < 28 else "a" * 27 + "…") in shown
