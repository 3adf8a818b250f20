"""Metrics against scikit-learn and by hand; thresholds where the cost says they belong."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from edgetl import metrics
from edgetl_runtime.tasks.classification import Thresholds, probabilities

CLASSES = ("crack", "ok", "scratch")
HALF = Thresholds(nok_at=0.5, ok_below=0.5)


@pytest.fixture(scope="module")
def judged():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    logits = rng.normal(0, 1, (300, 3)) + 1.5 * np.eye(3)[labels]
    return logits, labels


def evaluate(judged, **changes):
    options = {"classes": CLASSES, "defect_classes": ("crack", "scratch"), "thresholds": HALF, "temperature": 1.0}
    return metrics.evaluate(*judged, **{**options, **changes})


def test_evaluate_equals_scikit_learn(judged):
    logits, labels = judged
    found = evaluate(judged)
    predicted, probs = logits.argmax(axis=1), probabilities(logits, 1.0)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert found["auroc"] == pytest.approx(reference.roc_auc_score(labels != 1, 1 - probs[:, 1]))
    assert found["log_loss"] == pytest.approx(reference.log_loss(labels, probs))
    assert found["confusion"] == reference.confusion_matrix(labels, predicted).tolist()
    precision, recall, f1, n = reference.precision_recall_fscore_support(labels, predicted)
    rows = [found["per_class"][name] for name in CLASSES]
    assert [list(row.values()) for row in rows] == pytest.approx(np.array([precision, recall, f1, n]).T)


def test_evaluate_counts_escapes_overkill_and_unsure(judged):
    logits, labels = judged
    defect_score = 1 - probabilities(logits, 2.0)[:, 1]
    found = evaluate(judged, thresholds=Thresholds(nok_at=0.7, ok_below=0.4), temperature=2.0)
    assert found["escapes"] == ((labels != 1) & (defect_score < 0.4)).sum()
    assert found["overkill"] == ((labels == 1) & (defect_score >= 0.7)).sum()
    assert found["unsure"] == ((defect_score >= 0.4) & (defect_score < 0.7)).sum()
    assert (found["n_defect"], found["n_good"], found["n"]) == ((labels != 1).sum(), (labels == 1).sum(), 300)


def test_evaluate_counts_escapes_and_overkill_of_each_class(judged):
    logits, labels = judged
    found = evaluate(judged)
    passed = 1 - probabilities(logits, 1.0)[:, 1] < 0.5
    assert found["escapes_per_class"] == {
        "crack": (passed & (labels == 0)).sum(),
        "scratch": (passed & (labels == 2)).sum(),
    }
    assert found["overkill_per_class"] == {"ok": (~passed & (labels == 1)).sum()}
    assert sum(found["escapes_per_class"].values()) == found["escapes"] > 0
    assert sum(found["overkill_per_class"].values()) == found["overkill"] > 0


@pytest.mark.parametrize(("escapes", "n"), [(0, 1), (0, 59), (1, 59), (3, 40), (40, 40), (7, 299)])
def test_escape_statement_never_promises_more_than_the_exact_bound(escapes, n):
    """The rate said must make `escapes` or fewer at most a 1 in 20 chance: the definition, without a beta function."""
    text = metrics.escape_statement({"escapes": escapes, "n_defect": n}, split="validation")
    said = [float(word) / 100 for word in re.findall(r"([\d.]+) %", text)][1:]
    for rate, count in zip(said, (escapes, 0), strict=False):
        assert count == n or stats.binom.cdf(count, n, rate) <= 0.05 + 1e-9
        assert stats.binom.cdf(count, n, max(rate - 0.0011, 0)) > 0.05  # and not needlessly more
    assert f"{n} defect{'' if n == 1 else 's'} of validation" in text
    assert ("would support" in text) is (escapes > 0)


def test_escape_statement_says_nothing_of_a_split_without_defects():
    assert "nothing can be said" in metrics.escape_statement({"escapes": 0, "n_defect": 0})


def test_evaluate_has_no_auroc_where_only_one_kind_is_present():
    found = evaluate((np.zeros((4, 3)), np.array([1, 1, 1, 1])))
    assert (found["auroc"], found["escape_rate_upper95"], found["n_defect"]) == (None, None, 0)


def test_expected_calibration_error_is_the_gap_of_confidence():
    probs = np.array([[0.8, 0.2]] * 10)
    assert metrics.expected_calibration_error(probs, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0)
    assert metrics.expected_calibration_error(probs, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3)


def test_fit_temperature_undoes_a_factor(judged):
    logits, labels = judged
    once = metrics.fit_temperature(logits, labels)
    assert metrics.fit_temperature(4 * logits, labels) == pytest.approx(4 * once, rel=1e-3)
    assert metrics.calibrated_log_loss(4 * logits, labels) == pytest.approx(metrics.calibrated_log_loss(logits, labels))


@pytest.mark.parametrize(
    ("options", "escapes", "overkill"),
    [
        ({"escape_cost": 5.0}, 0, 2),
        ({"escape_cost": 0.4}, 1, 0),
        ({"escape_cost": 5.0, "max_escape_rate": 0.0}, 0, 2),
        ({"escape_cost": 5.0, "max_escape_rate": 0.25}, 1, 0),
    ],
)
def test_fit_thresholds_minimises_the_stated_cost(options, escapes, overkill):
    scores = np.array([0.1, 0.2, 0.5, 0.6, 0.45, 0.7, 0.8, 0.9])
    defective = np.array([False] * 4 + [True] * 4)
    cut = metrics.fit_thresholds(scores, defective, **options)
    assert cut.nok_at == cut.ok_below
    assert (defective & (scores < cut.nok_at)).sum() == escapes
    assert (~defective & (scores >= cut.nok_at)).sum() == overkill


def test_refit_thresholds_moves_as_little_as_possible():
    scores = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    defective = np.array([False, False, False, True, True, True])
    near = Thresholds(nok_at=0.4, ok_below=0.4)
    same = metrics.refit_thresholds(scores, defective, near=near, reference=(0, 0), escape_cost=5.0)
    assert same == near
    shifted = metrics.refit_thresholds(scores + 0.05, defective, near=HALF, reference=(0, 0), escape_cost=5.0)
    assert shifted == HALF
    low = Thresholds(nok_at=0.15, ok_below=0.15)
    moved = metrics.refit_thresholds(scores, defective, near=low, reference=(0, 0), escape_cost=5.0)
    assert moved.nok_at == pytest.approx(0.5)
    tolerant = metrics.refit_thresholds(scores, defective, near=low, reference=(0, 2), escape_cost=5.0)
    assert tolerant == low


def test_carry_thresholds_finds_the_same_cut_among_shifted_and_stretched_scores():
    margins = np.random.default_rng(0).normal(0, 3, 200)
    floats, moved = (1 / (1 + np.exp(-m)) for m in (margins, 0.7 * margins + 0.9))
    near = Thresholds(nok_at=0.3, ok_below=0.1)
    carried = metrics.carry_thresholds(moved, reference=floats, near=near)
    assert carried.nok_at == pytest.approx(1 / (1 + np.exp(-(0.7 * np.log(0.3 / 0.7) + 0.9))), rel=1e-6)
    assert ((moved >= carried.nok_at) == (floats >= near.nok_at)).all()
    assert ((moved < carried.ok_below) == (floats < near.ok_below)).all()


@pytest.mark.parametrize("scores", [np.full(4, 0.5), np.array([0.9, 0.8, 0.2, 0.0])])
def test_carry_thresholds_keeps_them_where_the_scores_do_not_rise(scores):
    assert metrics.carry_thresholds(scores, reference=np.array([0.0, 0.1, 0.9, 1.0]), near=HALF) == HALF


@pytest.mark.parametrize(("events", "n", "bound"), [(0, 100, 0.0295), (3, 50, 0.1478), (5, 5, 1.0)])
def test_binomial_upper_is_clopper_and_pearsons(events, n, bound):
    assert metrics.binomial_upper(events, n) == pytest.approx(bound, abs=2e-4)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_binomial_upper_is_where_so_few_events_become_unlikely(confidence):
    for n in (1, 7, 300):
        for events in {0, n // 3, n - 1}:
            bound = metrics.binomial_upper(events, n, confidence)
            assert stats.binom.cdf(events, n, bound) == pytest.approx(1 - confidence)
    assert metrics.binomial_upper(0, 0) is None


def test_auroc_counts_ties_half():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, positive = rng.integers(0, 6, 40) / 5, rng.integers(0, 2, 40).astype(bool)
        assert metrics.auroc(scores, positive) == pytest.approx(reference.roc_auc_score(positive, scores))


def test_fit_temperature_leaves_scores_between_0_and_1_where_all_is_right():
    labels = np.array([0, 1] * 10)
    logits = 2.0 * np.eye(2)[labels]
    probs = probabilities(logits, metrics.fit_temperature(logits, labels))
    assert 0.95 < probs.max() < 0.99  # about one further image in 22 is taken to be wrong


# saturated, neighbouring and sums a little above 1 included: all of them come out of softmax
SCORES = st.sampled_from([0.0, 5e-324, 1e-9, 0.25, 0.5, np.nextafter(0.5, 1), 1 - 1.2e-16, 1.0, 1.0 + 2.3e-16])
PARTS = st.lists(st.tuples(st.one_of(SCORES, st.floats(0, 1)), st.booleans()), min_size=1, max_size=12)
RATES = st.one_of(st.none(), st.sampled_from([0.0, 0.2, 0.5]))


def outcome(scores, defective, cut):
    return int((defective & (scores < cut)).sum()), int((~defective & (scores >= cut)).sum())


def cost_of(escapes, overkill, n_defect, escape_cost, max_escape_rate):
    if max_escape_rate is None:
        return escape_cost * escapes + overkill
    return overkill + escapes / (n_defect + 1) if escapes <= max_escape_rate * n_defect + 1e-9 else np.inf


def least_cost(scores, defective, *how):
    cuts = [0.0, 1.0, *scores[scores <= 1], *np.nextafter(scores[scores < 1], 2)]
    return min(cost_of(*outcome(scores, defective, cut), int(defective.sum()), *how) for cut in cuts)


@given(parts=PARTS, escape_cost=st.sampled_from([0.3, 1.0, 5.0]), rate=RATES)
@example(parts=[(1.0, False), (1.0, True)], escape_cost=0.3, rate=None)
@example(parts=[(0.0, False), (0.0, True)], escape_cost=5.0, rate=None)
def test_fit_thresholds_is_as_good_as_the_best_of_all_cuts(parts, escape_cost, rate):
    scores, defective = np.array([p[0] for p in parts]), np.array([p[1] for p in parts])
    cut = metrics.fit_thresholds(scores, defective, escape_cost=escape_cost, max_escape_rate=rate).nok_at
    assert 0 <= cut <= 1
    found = cost_of(*outcome(scores, defective, cut), int(defective.sum()), escape_cost, rate)
    assert found == pytest.approx(least_cost(scores, defective, escape_cost, rate))


@given(parts=PARTS, near=st.floats(0, 1), reference_=st.tuples(st.integers(0, 4), st.integers(0, 4)), rate=RATES)
def test_refit_thresholds_never_costs_more_than_the_reference_where_a_cut_allows_it(parts, near, reference_, rate):
    scores, defective = np.array([p[0] for p in parts]), np.array([p[1] for p in parts])
    n_defect, start = int(defective.sum()), Thresholds(nok_at=near, ok_below=near)
    options = {"escape_cost": 5.0, "max_escape_rate": rate}
    found = metrics.refit_thresholds(scores, defective, near=start, reference=reference_, **options)
    allowed, least = cost_of(*reference_, n_defect, 5.0, rate), least_cost(scores, defective, 5.0, rate)
    spent = cost_of(*outcome(scores, defective, found.nok_at), n_defect, 5.0, rate)
    bound = max(allowed, least) if np.isfinite(allowed) else least
    assert spent <= bound + 1e-9
    if cost_of(*outcome(scores, defective, near), n_defect, 5.0, rate) <= bound - 1e-9:
        assert found == start
