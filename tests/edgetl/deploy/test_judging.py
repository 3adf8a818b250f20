"""One candidate judged: thresholds kept, carried over or fitted again, and what it breaks."""

from __future__ import annotations

import types

import numpy as np
import pytest

from edgetl import tasks
from edgetl.deploy import judging
from edgetl.deploy.contract import Judge
from edgetl.tasks import inspection
from edgetl_runtime.contract import Contract
from edgetl_runtime.tasks import sorting
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds

TRUTH = np.array([0, 1] * 50)
RUN = types.SimpleNamespace(
    task="inspection",
    labels=Labels(classes=("bad", "ok"), defect_classes=("bad",)),
    params=Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0),
    aims={},
)


def logits(seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    return (2 * np.eye(2)[TRUTH] + noise * rng.normal(0, 1, (100, 2))).astype(np.float32)


def decided(found, params=RUN.params):
    return inspection.TASK.decided({"logits": found}, TRUTH, RUN.labels, params)


def judge(contract, reference, found, run=RUN):
    against = Judge.of(contract, task=run.task, labels=run.labels)
    return judging.judge(run, against, reference, TRUTH, {"logits": found})


@pytest.fixture(scope="module")
def reference():
    return decided(logits())


def test_judge_accepts_the_reference_itself(reference):
    judged = judge(Contract(), reference, logits())
    assert (judged["drop_pp"], judged["why"]) == (0.0, ())
    assert judged["flips"] <= 2  # its own temperature moves a score across the threshold at most
    assert judged["val"]["accuracy"] == reference.figures["accuracy"]


def test_judge_says_what_a_worse_model_breaks(reference):
    judged = judge(Contract(), reference, logits(seed=1, noise=3.0))
    predicted = logits(seed=1, noise=3.0).argmax(axis=1)
    assert judged["drop_pp"] == pytest.approx(100 * (reference.figures["accuracy"] - (predicted == TRUTH).mean()))
    assert judged["flips"] >= (np.array(RUN.labels.classes)[predicted] != reference.answers).sum()
    assert {word.split()[0] for word in judged["why"]} >= {"accuracy", "flips"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_judge_refuses_scores_that_are_not_finite(value, reference):
    broken = logits()
    broken[7, 1] = value
    judged = judge(Contract(max_drop_pp=100, max_flips_pct=100), reference, broken)
    assert judged["why"] == ("scores are NaN or infinite",)
    assert (judged["flips"], judged["val"]["accuracy"]) == (100, 0.0)


def test_judge_keeps_the_float_models_thresholds_where_they_keep_the_contract(reference):
    judged = judge(Contract(max_drop_pp=5, max_flips_pct=10), reference, logits() + 0.01)
    assert judged["params"] == RUN.params
    shifted = logits()
    shifted[np.flatnonzero(TRUTH == 0)[:3]] = (-9, 9)  # three sure escapes: a cheaper cut lies far away
    tight = Contract(max_drop_pp=100, max_flips_pct=4, max_escapes=50)
    assert judge(tight, reference, shifted)["flips"] <= 4


def test_judge_carries_the_thresholds_over_where_all_scores_are_shifted():
    low = Params(thresholds=Thresholds(nok_at=0.1, ok_below=0.1), temperature=1.0)
    reference = decided(logits(), low)
    shifted = logits() + np.array([0, 0.4], np.float32)  # every part looks better than it is
    judged = judge(Contract(max_drop_pp=100, max_flips_pct=5), reference, shifted)
    assert (judged["flips"], judged["why"]) == (3, ())
    assert reference.flips(decided(shifted, low)).sum() == 7


def test_judge_refits_by_cost_where_nothing_else_keeps_the_escapes(reference):
    contract = Contract(max_drop_pp=100, max_flips_pct=100, max_escapes=5)
    judged = judge(contract, reference, logits(seed=2, noise=1.2))
    assert judged["val"]["escapes"] == 3
    assert judged["why"] == ()
    assert decided(logits(seed=2, noise=1.2)).figures["escapes"] == 8


def test_judge_counts_a_changed_label_once_and_the_verdicts_beside_the_threshold(reference):
    same = judge(Contract(), reference, logits())
    assert (same["flips"], same["likely_flips"]) == (0, 0.0)
    noisy = judge(Contract(), reference, logits() + logits(seed=5) * 0.1)
    changed = (noisy["flips"], noisy["likely_flips"])
    assert 0 < changed[0] < 10
    assert changed[1] == pytest.approx(changed[0], abs=4)


SORTING = types.SimpleNamespace(
    task="sorting",
    labels=sorting.Labels(classes=("m3", "m4")),
    params=sorting.Params(unsure_below=0.7, temperature=1.0),
    aims={"error_cost": 5.0},
)


@pytest.fixture(scope="module")
def sorted_reference():
    return tasks.get("sorting").decided({"logits": logits()}, TRUTH, SORTING.labels, SORTING.params)


def test_judge_of_sorting_accepts_the_reference_itself_at_its_own_bound(sorted_reference):
    judged = judge(Contract(), sorted_reference, logits(), SORTING)
    assert (judged["params"], judged["why"], judged["flips"]) == (SORTING.params, (), 0)
    assert judged["val"]["errors"] == sorted_reference.figures["errors"]


def test_judge_of_sorting_says_what_a_worse_model_breaks(sorted_reference):
    judged = judge(Contract(), sorted_reference, logits(seed=1, noise=3.0), SORTING)
    assert {word.split()[0] for word in judged["why"]} >= {"accuracy", "flips", "errors"}
    unbound = Contract(max_drop_pp=100, max_flips_pct=100, max_errors=100)
    assert judge(unbound, sorted_reference, logits(seed=1, noise=3.0), SORTING)["why"] == ()


def test_judge_of_sorting_counts_an_answer_that_becomes_unsure_as_a_flip(sorted_reference):
    flat = (0.01 * logits()).astype(np.float32)  # the same answers, none of them sure
    kept = tasks.get("sorting").decided({"logits": flat}, TRUTH, SORTING.labels, SORTING.params)
    assert (kept.answers == sorted_reference.answers).all()
    assert sorted_reference.flips(kept).sum() == (sorted_reference.verdicts != "UNSURE").sum()
    refused = judge(Contract(max_unsure_pct=0, max_flips_pct=0), sorted_reference, flat, SORTING)
    assert refused["why"]


def test_judge_of_sorting_refuses_scores_that_are_not_finite(sorted_reference):
    broken = logits()
    broken[7, 1] = np.nan
    loose = Contract(max_drop_pp=100, max_flips_pct=100, max_errors=100)
    judged = judge(loose, sorted_reference, broken, SORTING)
    assert judged["why"] == ("scores are NaN or infinite",)
    assert (judged["flips"], judged["val"]["errors"], judged["val"]["accuracy"]) == (100, 100, 0.0)
