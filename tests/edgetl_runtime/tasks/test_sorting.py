from __future__ import annotations

import numpy as np
import pytest

from edgetl_runtime.errors import UsageError
from edgetl_runtime.tasks.sorting import TASK, Bounds, Labels, Params, pair_of

LABELS = Labels(classes=("m3", "m4", "m5"))
SURE = Params(unsure_below=0.6, temperature=1.0)


def test_the_verdict_is_the_class_or_unsure():
    found = TASK.decided(np.array([[0.1, 0.9, 0.0], [0.4, 0.59, 0.01], [0.6, 0.2, 0.2]]), LABELS, SURE)
    assert [(d.verdict, d.label) for d in found] == [("m4", "m4"), ("UNSURE", "m4"), ("m3", "m3")]
    assert {d.verdict for d in found} <= set(TASK.verdicts(LABELS))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_params_refuse_a_bound_that_no_probability_can_be(wrong):
    with pytest.raises(UsageError, match="unsure_below must be from 0 to 1"):
        Params(unsure_below=wrong, temperature=1.0)


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
    assert counts == {"n": 3, "accuracy": pytest.approx(2 / 3), "errors": 1, "unsure": 1, "confused": {"m4:m3": 1}}
    assert TASK.tell(counts) == "1 of 3 sorted wrongly, 1 unsure"
    assert TASK.describe(LABELS, SURE) == ["classes     m3, m4, m5; UNSURE below a probability of 0.6"]


COUNTED = {"n": 8, "errors": 3, "unsure": 2, "confused": {"m3:m4": 2, "m5:m3": 1}}


@pytest.mark.parametrize("most", [-1, float("nan")])
def test_bounds_refuse_what_nothing_can_keep(most):
    for name in ("max_errors", "max_unsure_pct"):
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be 0 or above; got {most}"):
            Bounds(**{name: most})
    with pytest.raises(UsageError, match=f"--max-confused m3:m4 must be 0 or above; got {most}"):
        Bounds(max_confused={"m3:m4": most})


@pytest.mark.parametrize("pair", ["m3", "m3:", ":m4", "m3:m3", "m3:m6", "m6:m3", "m3=m4", "m3:m4:m5", ""])
def test_a_bound_on_a_pair_must_name_two_classes_of_the_run(pair):
    with pytest.raises(UsageError, match="two different classes of m3, m4, m5; got '") as caught:
        TASK.check_bounds(Bounds(max_confused={pair: 0}), LABELS)
    assert caught.value.fix == "--max-confused m3:m4=0"


@pytest.mark.parametrize("name", ["bolt:m3", "../m3", "a/b", "..", ".m3", "m3.", "m3\n", "", "x" * 121])
def test_a_class_is_called_like_a_folder_can_be_for_parts_are_moved_there(name):
    with pytest.raises(UsageError, match="names that a folder can have"):
        Labels(classes=(name, "m4"))


def test_pair_of_names_truth_and_answer():
    assert pair_of("m3:m 4", ("m3", "m 4")) == ("m3", "m 4")


def test_held_yields_every_bound_with_what_was_counted():
    bounds = Bounds(max_errors=3, max_unsure_pct=20, max_confused={"m3:m4": 1, "m4:m3": 0})
    TASK.check_bounds(bounds, LABELS)
    assert [(bound.clause, bound.broken) for bound in TASK.held(bounds, COUNTED)] == [
        ("errors 3 <= 3", False),
        ("unsure 25.00 % > 20.00", True),
        ("m3 sorted as m4 2 > 1", True),
        ("m4 sorted as m3 0 <= 0", False),
    ]


@pytest.mark.parametrize(("floats", "broken"), [(1, True), (2, False), (3, False)])
def test_a_candidate_may_have_one_error_more_than_the_float_model_by_default(floats, broken):
    (bound,) = TASK.held(Bounds(), COUNTED, {"errors": floats})
    assert (bound.name, bound.most, bound.broken) == ("errors", floats + 1, broken)
    (asked,) = TASK.held(Bounds(max_errors=0), COUNTED, {"errors": floats})
    assert asked.broken


def test_without_a_float_model_and_bounds_nothing_is_held():
    assert list(TASK.held(Bounds(), COUNTED)) == []


def test_a_part_that_is_unsure_is_no_error_and_counted_on_its_own():
    found = TASK.decided(np.array([[0.4, 0.59, 0.01]] * 4), LABELS, SURE)
    counts = TASK.count(LABELS, truth=["m3"] * 4, found=found)
    bounds = Bounds(max_errors=0, max_unsure_pct=99.9, max_confused={"m3:m4": 0})
    assert [bound.name for bound in TASK.held(bounds, counts) if bound.broken] == ["unsure"]


@pytest.mark.parametrize(
    "classes", [("unsure", "a"), ("Fault", "a"), ("decisions.jsonl", "a"), ("NUL", "a"), ("m3", "M3")]
)
def test_classes_never_meet_the_services_own_names_or_each_other_on_any_file_system(classes):
    with pytest.raises(UsageError, match="classes must be"):
        Labels(classes=classes)
