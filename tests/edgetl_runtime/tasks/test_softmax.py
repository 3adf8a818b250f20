from __future__ import annotations

import numpy as np
import pytest

from edgetl_runtime.errors import BackendError, ShapeError, UsageError
from edgetl_runtime.tasks.softmax import Decision, check_class_names, probabilities


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


def test_class_names_must_not_be_verdicts():
    check_class_names(("m3", "m4"), reserved=("UNSURE",))
    with pytest.raises(UsageError, match=r"(?s)named otherwise than UNSURE; got UNSURE.*rename the class UNSURE"):
        check_class_names(("m3", "UNSURE"), reserved=("UNSURE",))


def test_decisions_are_apart_by_the_class_that_moved_most():
    one, other = (
        Decision(verdict="a", label="a", score=0.5, scores={"a": 0.5, "b": b, "c": 0.5 - b}) for b in (0.5, 0.1)
    )
    assert one.apart(other) == pytest.approx(0.4)
