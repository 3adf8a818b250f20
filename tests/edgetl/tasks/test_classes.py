"""What tasks on classes share."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.tasks import classes as metrics
from edgetl_runtime.tasks.softmax import probabilities


@pytest.fixture(scope="module")
def judged():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    logits = rng.normal(0, 1, (300, 3)) + 1.5 * np.eye(3)[labels]
    return logits, labels


def test_expected_calibration_error_is_the_gap_of_confidence():
    probs = np.array([[0.8, 0.2]] * 10)
    assert metrics.expected_calibration_error(probs, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0)
    assert metrics.expected_calibration_error(probs, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)


def test_fit_temperature_undoes_a_factor(judged):
    logits, labels = judged
    once = metrics.fit_temperature(logits, labels)
    assert metrics.fit_temperature(4 * logits, labels) == pytest.approx(4 * once, rel=1e-3)
    assert metrics.calibrated_log_loss(4 * logits, labels) == pytest.approx(metrics.calibrated_log_loss(logits, labels))


def test_fit_temperature_leaves_scores_between_0_and_1_where_all_is_right():
    labels = np.array([0, 1] * 10)
    logits = 2.0 * np.eye(2)[labels]
    probs = probabilities(logits, metrics.fit_temperature(logits, labels))
    assert 0.95 < probs.max() < 0.99  # about one further image in 22 is taken to be wrong
