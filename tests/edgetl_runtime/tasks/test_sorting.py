from __future__ import annotations

import numpy as np
import pytest

from edgetl_runtime.errors import UsageError
from edgetl_runtime.tasks.sorting import TASK, Labels, Params

LABELS = Labels(classes=("m3", "m4", "m5"))
SURE = Params(unsure_below=0.6)


def test_the_verdict_is_the_class_or_unsure():
    found = TASK.decided(np.array([[0.1, 0.9, 0.0], [0.4, 0.59, 0.01], [0.6, 0.2, 0.2]]), LABELS, SURE)
    assert [(d.verdict, d.label) for d in found] == [("m4", "m4"), ("UNSURE", "m4"), ("m3", "m3")]
    assert {d.verdict for d in found} <= set(TASK.verdicts(LABELS))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_params_refuse_a_bound_that_no_probability_can_be(wrong):
    with pytest.raises(UsageError, match="unsure_below must be from 0 to 1"):
        Params(unsure_below=wrong)


@pytest.mark.parametrize("name", ["UNSURE", "FAULT"])
def test_labels_refuse_a_class_that_is_called_like_a_verdict(name):
    with pytest.raises(UsageError, match=f"got {name}"):
        Labels(classes=("m3", name))


def test_near_border_is_within_reach_of_the_bound_or_of_a_tie():
    scores = np.array([[0.61, 0.3, 0.09], [0.9, 0.1, 0.0], [0.33, 0.34, 0.33]])
    assert TASK.near_border(scores, LABELS, SURE, tolerance=0.02).tolist() == [True, False, True]


def test_count_tells_errors_from_unsure_parts():
    found = TASK.decided(np.array([[0.1, 0.9, 0.0], [0.4, 0.59, 0.01], [0.9, 0.1, 0.0]]), LABELS, SURE)
    counts = TASK.count(LABELS, truth=["m4", "m4", "m4"], found=found)
    assert counts == {"n": 3, "accuracy": pytest.approx(2 / 3), "errors": 1, "unsure": 1}
    assert TASK.tell(counts) == "1 of 3 sorted wrongly, 1 unsure"
    assert TASK.describe(LABELS, SURE) == ["classes     m3, m4, m5; UNSURE below a probability of 0.6"]
