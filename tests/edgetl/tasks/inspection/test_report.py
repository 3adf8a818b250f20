"""What a report says of an inspection; the answers as a whole are tested with `edgetl.report.verdict`."""

from __future__ import annotations

import numpy as np

from edgetl.tasks import get
from edgetl.tasks.inspection import report
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds

LABELS = Labels(classes=("bad", "ok"), defect_classes=("bad",))


def figures(*, passed=0, rejected=0, n=400):
    """Figures of n parts, every second one defective."""
    truth = np.arange(n) % 2
    logits = np.where(truth[:, None] == np.arange(2), 8.0, 0.0).astype(np.float32)
    logits[np.flatnonzero(truth == 0)[:passed]] = (0, 8)
    logits[np.flatnonzero(truth == 1)[:rejected]] = (8, 0)
    params = Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0)
    return get("inspection").decided({"logits": logits}, truth, LABELS, params).figures


def test_a_bundle_that_lets_more_pass_is_said_and_one_that_rejects_all_stops():
    (point,) = report.deployed_points("local", figures(passed=3), figures(passed=1))
    assert point.text == "local: 3 escapes on test after optimisation, 1 before."
    (point,) = report.deployed_points("local", figures(rejected=200), figures())
    assert (point.level, point.text) == ("stop", "local: 200 of 200 good test parts (100 %) are rejected.")
    assert report.deployed_points("local", figures(), figures()) == []


def test_an_escape_rate_asked_for_is_held():
    found = {point.level: point.text for point in report.points(figures(passed=8), 0.01)}
    assert found["stop"] == "8 of 200 defects pass (4.0 %); at most 1 % was asked for."
    assert "stop" not in {point.level for point in report.points(figures(passed=8), None)}
