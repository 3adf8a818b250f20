"""Plots of defect scores: any class name is shown, ties move together."""

from __future__ import annotations

import base64
import types
from xml.etree import ElementTree as ET

import pytest

from edgetl.tasks.inspection.plots import roc_points, score_histograms
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds


def row(*, defect_score, label):
    return types.SimpleNamespace(label=label, details={"defect_score": defect_score})


def texts(uri):
    svg = ET.fromstring(base64.b64decode(uri.partition(",")[2]))
    return ["".join(e.itertext()) for e in svg.iter() if e.tag.endswith("}text")]


@pytest.mark.parametrize("name", ["$x$ & <b>", "$\\frac{$", "裂纹", "a" * 200])
def test_score_histograms_show_any_class_name(name):
    labels = Labels(classes=("ok", name), defect_classes=(name,))
    params = Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.4), temperature=1.0)
    rows = [row(defect_score=0.1 * i, label=("ok", name)[i % 2]) for i in range(10)]
    shown = texts(score_histograms(rows, types.SimpleNamespace(labels=labels, params=params)))
    assert (name if len(name) < 28 else "a" * 27 + "…") in shown


def test_roc_points_move_ties_together():
    labels = Labels(classes=("bad", "ok"), defect_classes=("bad",))
    rows = [row(defect_score=s, label=name) for s, name in ((0.9, "bad"), (0.4, "bad"), (0.4, "ok"), (0.1, "ok"))]
    rejected, found = roc_points(rows, labels)
    assert rejected.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert found.tolist() == [0.0, 0.5, 1.0, 1.0]
    assert roc_points(rows[:2], labels) is None
    assert roc_points([], labels) is None
