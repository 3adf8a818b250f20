from __future__ import annotations

import numpy as np
import pytest

from edgetl_runtime.errors import BackendError, ShapeError, UsageError
from edgetl_runtime.tasks.classification import Thresholds, decide, defect_scores, probabilities, verdicts

CLASSES = ("dent", "ok", "scratch")
DEFECTS = ("dent", "scratch")
HALF = Thresholds(nok_at=0.5, ok_below=0.5)


def decide_one(row, thresholds=HALF, temperature=1.0):
    return decide(
        np.array([row], np.float32),
        classes=CLASSES,
        defect_classes=DEFECTS,
        thresholds=thresholds,
        temperature=temperature,
    )[0]


def test_probabilities_are_softmax_of_logits_by_temperature():
    logits = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], np.float32)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(logits, 2.0), expected, rtol=1e-6)
    assert probabilities(logits).dtype == np.float64


def test_probabilities_do_not_overflow():
    np.testing.assert_array_equal(probabilities(np.array([[1e4, -1e4]])), [[1.0, 0.0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_probabilities_refuses_logits_that_are_not_finite(bad):
    with pytest.raises(BackendError, match="logits must be finite; got NaN or infinity"):
        probabilities(np.array([[0.0, bad]]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_probabilities_refuses_a_temperature_that_is_not_positive_and_finite(temperature):
    with pytest.raises(UsageError, match="temperature must be above 0 and finite"):
        probabilities(np.zeros((1, 2)), temperature)


@pytest.mark.parametrize("temperature", [1e-320, 1e300])
def test_no_temperature_makes_a_probability_that_is_no_number(temperature):
    with np.errstate(over="ignore"):
        found = probabilities(np.array([[3e38, -3e38, 0.0]], np.float32), temperature)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1.0)


def test_probabilities_refuses_a_single_row():
    with pytest.raises(ShapeError, match=r"logits must be of shape \(N, C\); got shape \(3,\)"):
        probabilities(np.zeros(3))


def test_defect_scores_sum_the_defect_classes():
    probs = np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(defect_scores(probs, CLASSES, DEFECTS), [0.5, 0.0])


def test_verdicts_lie_on_the_strict_side_of_both_thresholds():
    scores = np.array([0.0, 0.19, 0.2, 0.5, 0.69, 0.7, 1.0])
    expected = ["OK", "OK", "UNSURE", "UNSURE", "UNSURE", "NOK", "NOK"]
    assert verdicts(scores, Thresholds(nok_at=0.7, ok_below=0.2)).tolist() == expected


def test_verdicts_are_never_unsure_when_the_thresholds_are_equal():
    assert verdicts(np.array([0.4999, 0.5]), HALF).tolist() == ["OK", "NOK"]


def test_thresholds_refuse_overlap():
    with pytest.raises(UsageError, match="ok_below must be at most nok_at"):
        Thresholds(nok_at=0.2, ok_below=0.3)


@pytest.mark.parametrize("wrong", [-0.1, 1.0000001, 7.0, float("inf"), float("-inf"), float("nan")])
def test_thresholds_refuse_what_no_score_can_be(wrong):
    for cuts in ({"nok_at": wrong, "ok_below": 0.0}, {"nok_at": 1.0, "ok_below": wrong}):
        with pytest.raises(UsageError, match=r"(nok_at|ok_below) must be from 0 to 1; got"):
            Thresholds(**cuts)


def test_a_sure_defect_is_never_ok_at_the_highest_cuts():
    highest = Thresholds(nok_at=1.0, ok_below=1.0)
    assert verdicts(np.array([0.9999999999999999, 1.0, 1.0000000000000002]), highest).tolist() == ["NOK"] * 3
    rng = np.random.default_rng(0)
    for _ in range(300):  # sums of two probabilities beside which the third is nothing
        decision = decide_one([rng.uniform(-3, 3), -60.0, rng.uniform(-3, 3)], thresholds=highest)
        assert (decision.verdict, decision.defect_score) == ("NOK", 1.0)


def test_the_reported_defect_score_is_the_one_that_was_compared():
    cut = Thresholds(nok_at=0.3, ok_below=0.3)
    assert float(np.float64(0.1) + np.float64(0.2)) != 0.3
    logits = np.log(np.array([[0.1, 0.7, 0.2]]))
    found = decide(logits, classes=CLASSES, defect_classes=DEFECTS, thresholds=cut, temperature=1.0)[0]
    assert (found.defect_score, found.verdict) == (0.3, "NOK")


def test_decide_can_say_ok_by_label_and_nok_by_the_sum_of_the_defects():
    decision = decide_one([1.0, 1.2, 1.0])
    assert decision.label == "ok"
    assert decision.verdict == "NOK"
    assert decision.defect_score == pytest.approx(1 - decision.scores["ok"])
    assert decision.score == decision.scores["ok"]
    assert sum(decision.scores.values()) == pytest.approx(1.0)


def test_decide_uses_the_temperature():
    assert decide_one([0.0, 4.0, 0.0], temperature=1.0).score > decide_one([0.0, 4.0, 0.0], temperature=4.0).score


def test_decision_prints_as_the_json_of_predict():
    mapping = decide_one([0.0, 0.0, 0.0]).to_mapping()
    assert list(mapping) == ["class", "score", "defect_score", "verdict", "scores", "timings_ms"]
    assert mapping["class"] == "dent"
    assert mapping["scores"] == pytest.approx(dict.fromkeys(CLASSES, 1 / 3))


@pytest.mark.parametrize("shape", [(1, 2), (1, 4), (3,), (1, 1, 3)])
def test_decide_refuses_another_number_of_classes(shape):
    with pytest.raises(ShapeError, match=r"logits must be of shape \(N, 3\); got shape"):
        decide(np.zeros(shape), classes=CLASSES, defect_classes=DEFECTS, thresholds=HALF, temperature=1.0)


def test_decide_of_an_empty_batch_is_empty():
    empty = np.zeros((0, 3))
    assert decide(empty, classes=CLASSES, defect_classes=DEFECTS, thresholds=HALF, temperature=1.0) == []
