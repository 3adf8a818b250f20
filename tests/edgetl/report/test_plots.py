from __future__ import annotations

import base64
from xml.etree import ElementTree as ET

from edgetl.report.plots import training_curves


def texts(uri: str) -> list[str]:
    svg = ET.fromstring(base64.b64decode(uri.partition(",")[2]))
    return ["".join(e.itertext()) for e in svg.iter() if e.tag.endswith("}text")]


def test_training_curves_mark_phases_and_bear_missing_values() -> None:
    epochs = [{"phase": p, "epoch": 1, "train_loss": loss} for p, loss in (("top", 1.0), ("deep", None), ("deep", 0.5))]
    shown = texts(training_curves(epochs, {"val_log_loss": float("nan"), "val_accuracy": 0.9}))
    assert shown.count("top") == shown.count("deep") == 2
    assert shown.count("frozen baseline") == 2
    assert "frozen baseline" not in texts(training_curves(epochs[:1], None))
