from __future__ import annotations

import numpy as np
import pytest

from edgetl_runtime.errors import BackendError, UsageError
from edgetl_runtime.tasks.inspection import TASK, Bounds, Labels, Params, Thresholds, defect_scores, verdicts

CLASSES = ("dent", "ok", "scratch")
DEFECTS = ("dent", "scratch")
HALF = Thresholds(nok_at=0.5, ok_below=0.5)


LABELS = Labels(classes=CLASSES, defect_classes=DEFECTS)


def decide(logits, thresholds=HALF, temperature=1.0):
    outputs = {"logits": np.asarray(logits, np.float32)}
    return TASK.decide(outputs, LABELS, Params(thresholds=thresholds, temperature=temperature))


def decide_one(row, thresholds=HALF, temperature=1.0):
    return decide([row], thresholds, temperature)[0]


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
    found = TASK.decided(np.array([[0.1, 0.7, 0.2]]), LABELS, Params(thresholds=cut, temperature=1.0))[0]
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
    assert list(mapping) == ["class", "score", "defect_score", "scores", "verdict", "timings_ms"]
    assert mapping["class"] == "dent"
    assert mapping["scores"] == pytest.approx(dict.fromkeys(CLASSES, 1 / 3))


@pytest.mark.parametrize("shape", [(1, 2), (1, 4), (3,), (1, 1, 3)])
def test_decide_refuses_another_number_of_classes(shape):
    with pytest.raises(BackendError, match=r"logits must be of shape \(N, 3\); got shape"):
        decide(np.zeros(shape))


def test_decide_of_an_empty_batch_is_empty():
    assert list(decide(np.zeros((0, 3)))) == []


def test_decide_refuses_outputs_without_logits_or_with_nan():
    params = Params(thresholds=HALF, temperature=1.0)
    with pytest.raises(BackendError, match="the model's outputs must be with logits; got features"):
        TASK.decide({"features": np.zeros((1, 3), np.float32)}, LABELS, params)
    with pytest.raises(BackendError, match="logits must be finite; got NaN or infinity"):
        decide([[0.0, np.nan, 0.0]])


@pytest.mark.parametrize(
    ("classes", "defects", "words"),
    [
        (("ok",), (), "classes must be at least two"),
        (("ok", "ok"), ("ok",), "classes must be different"),
        (("bad", "ok"), (), "some but not all of the classes; got none"),
        (("bad", "ok"), ("bad", "ok"), "some but not all"),
        (("bad", "ok"), ("dent",), "some but not all of the classes; got dent"),
    ],
)
def test_labels_refuse(classes, defects, words):
    with pytest.raises(UsageError, match=words):
        Labels(classes=classes, defect_classes=defects)


def test_count_tells_escapes_from_overkill():
    found = decide([[9, 0, 0], [0, 9, 0], [9, 0, 0], [0, 9, 0]])
    counts = TASK.count(LABELS, truth=["dent", "dent", "ok", "ok"], found=found)
    assert counts == {
        "n": 4, "accuracy": 0.5, "n_defect": 2, "n_good": 2, "escapes": 1, "overkill": 1, "unsure": 0,
        "escapes_per_class": {"dent": 1, "scratch": 0}, "overkill_per_class": {"ok": 1},
    }  # fmt: skip
    assert TASK.tell(counts) == "escapes 1 of 2 defects, overkill 1 of 2 good parts, 0 unsure"


def test_near_border_is_within_reach_of_a_cut_or_a_tie():
    scores = np.array([[0.49, 0.51, 0.0], [0.1, 0.9, 0.0], [0.05, 0.5, 0.45], [0.0, 0.69, 0.31]])
    params = Params(thresholds=Thresholds(nok_at=0.3, ok_below=0.3), temperature=1.0)
    assert TASK.near_border(scores, LABELS, params, tolerance=0.02).tolist() == [True, False, False, True]


COUNTED = {
    "n": 9, "escapes": 2, "overkill": 3,
    "escapes_per_class": {"dent": 2, "scratch": 0}, "overkill_per_class": {"ok": 3},
}  # fmt: skip


@pytest.mark.parametrize("most", [-1, float("nan")])
@pytest.mark.parametrize("name", ["max_escapes", "max_overkill"])
def test_bounds_refuse_what_nothing_can_keep(name, most):
    option = name.replace("_", "-")
    with pytest.raises(UsageError, match=f"--{option} must be 0 or above; got {most}"):
        Bounds(**{name: most})
    with pytest.raises(UsageError, match=f"--{option}-of dent must be 0 or above; got {most}"):
        Bounds(**{f"{name}_of": {"dent": most}})


@pytest.mark.parametrize(
    ("terms", "said", "fix"),
    [
        ({"max_escapes_of": {"dnet": 0}}, "a class of the contract must be one of the run's; got 'dnet'", "'dent'"),
        ({"max_escapes_of": {"oks": 0}}, "a class of the contract must be one of the run's; got 'oks'", "one of dent"),
        ({"max_overkill_of": {"dent_": 0}}, "a class of the contract must be one of the run's", "one of ok"),
        (
            {"max_escapes_of": {"ok": 3}},
            "--max-escapes-of ok=… must be on a defect class; got good",
            "-overkill-of ok=3",
        ),
        ({"max_overkill_of": {"dent": 1}}, "--max-overkill-of dent=… must be on good parts", "-escapes-of dent=1"),
    ],
)
def test_a_bound_on_a_class_must_be_able_to_break(terms, said, fix):
    with pytest.raises(UsageError, match=said) as caught:
        TASK.check_bounds(Bounds(**terms), LABELS)
    assert fix in caught.value.fix


def test_bounds_that_fit_the_classes_are_taken():
    fitting = Bounds(max_escapes=0, max_overkill=0, max_escapes_of={"dent": 0}, max_overkill_of={"ok": 0})
    TASK.check_bounds(fitting, LABELS)
    TASK.check_bounds(Bounds(), LABELS)


def test_held_yields_every_bound_with_what_was_counted():
    bounds = Bounds(max_escapes=1, max_overkill=3, max_escapes_of={"dent": 1, "scratch": 0}, max_overkill_of={"ok": 2})
    assert [(bound.clause, bound.broken) for bound in TASK.held(bounds, COUNTED)] == [
        ("escapes 2 > 1", True),
        ("escapes of dent 2 > 1", True),
        ("escapes of scratch 0 <= 0", False),
        ("overkill 3 <= 3", False),
        ("overkill of ok 3 > 2", True),
    ]


@pytest.mark.parametrize(("floats", "broken"), [(0, True), (1, False), (2, False)])
def test_a_candidate_may_have_one_escape_more_than_the_float_model_by_default(floats, broken):
    (bound,) = TASK.held(Bounds(), COUNTED, {"escapes": floats})
    assert (bound.name, bound.most, bound.broken) == ("escapes", floats + 1, broken)
    (asked,) = TASK.held(Bounds(max_escapes=0), COUNTED, {"escapes": floats})
    assert asked.broken


def test_without_a_float_model_and_bounds_nothing_is_held():
    assert list(TASK.held(Bounds(), COUNTED)) == []


def test_a_count_that_is_not_a_number_breaks_its_bound():
    (bound,) = TASK.held(Bounds(max_escapes=5), {**COUNTED, "escapes": float("nan")})
    assert bound.broken
    assert bound.clause == "escapes nan > 5.00"


def test_held_counts_as_decisions_are_counted():
    found = decide([[9, 0, 0], [0, 9, 0], [9, 0, 0], [0, 9, 0]])
    counts = TASK.count(LABELS, truth=["dent", "dent", "ok", "ok"], found=found)
    bounds = Bounds(max_escapes_of={"dent": 0}, max_overkill_of={"ok": 0})
    assert [bound.clause for bound in TASK.held(bounds, counts)] == ["escapes of dent 1 > 0", "overkill of ok 1 > 0"]
