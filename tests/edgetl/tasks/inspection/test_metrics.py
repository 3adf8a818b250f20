"""Metrics against scikit-learn and by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from edgetl.metrics import binomial_upper
from edgetl.tasks import get
from edgetl.tasks.inspection import metrics
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds
from edgetl_runtime.tasks.softmax import probabilities

CLASSES = ("crack", "ok", "scratch")
HALF = Thresholds(nok_at=0.5, ok_below=0.5)


@pytest.fixture(scope="module")
def judged():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    logits = rng.normal(0, 1, (300, 3)) + 1.5 * np.eye(3)[labels]
    return logits, labels


LABELS = Labels(classes=CLASSES, defect_classes=("crack", "scratch"))


def evaluate(judged, *, thresholds=HALF, temperature=1.0, groups=()):
    logits, truth = judged
    params = Params(thresholds=thresholds, temperature=temperature)
    outputs = {"logits": np.asarray(logits, np.float32)}
    return get("inspection").decided(outputs, truth, LABELS, params, groups).figures


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


def test_auroc_counts_ties_half():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, positive = rng.integers(0, 6, 40) / 5, rng.integers(0, 2, 40).astype(bool)
        assert metrics.auroc(scores, positive) == pytest.approx(reference.roc_auc_score(positive, scores))


def judged_in_groups(n_defect, *, escapes, groups):
    """Metrics of `n_defect` defects in `groups` groups, the first `escapes` of them passed, beside 40 good parts."""
    labels = np.array([0] * n_defect + [1] * 40)
    logits = np.where(labels[:, None] == np.arange(3), 9.0, 0.0)
    logits[:escapes] = (0, 9, 0)
    names = [f"lot {index * groups // n_defect}" for index in range(n_defect)] + [f"part {i}" for i in range(40)]
    return evaluate((logits, labels), groups=names)


def test_bounds_count_groups_for_images_of_one_group_are_not_independent():
    one = judged_in_groups(20, escapes=0, groups=1)
    assert one["escape_rate_upper95"] == pytest.approx(0.95)
    assert metrics.escape_statement(one) == (
        "0 escapes among 20 defects (1 group) of test: with 95 % confidence less than 95.0 % of groups hold an escape"
    )
    apart = judged_in_groups(20, escapes=0, groups=20)
    assert apart["escape_rate_upper95"] == pytest.approx(binomial_upper(0, 20))
    assert "group" not in metrics.escape_statement(apart)
    two_of_five = judged_in_groups(20, escapes=5, groups=5)  # five images of two lots
    assert two_of_five["escape_rate_upper95"] == pytest.approx(binomial_upper(2, 5))
    assert two_of_five["escapes"] == 5


def test_overkill_is_bounded_and_said_like_escapes():
    assert metrics.overkill_statement({"overkill": 2, "n_good": 12}) == (
        "2 of 12 good parts of test rejected: with 95 % confidence the overkill rate is below 43.9 %"
    )
    assert metrics.overkill_statement({"overkill": 1, "n_good": 1}).startswith("1 of 1 good part of test rejected")
    assert "nothing can be said" in metrics.overkill_statement({"overkill": 0, "n_good": 0})


def test_verdict_accuracy_is_that_of_the_station(judged):
    logits, labels = judged
    found = evaluate(judged, thresholds=Thresholds(nok_at=0.7, ok_below=0.4))
    defect_score = 1 - probabilities(logits, 1.0)[:, 1]
    right = np.where(labels == 1, defect_score < 0.4, defect_score >= 0.7)
    assert found["verdict_accuracy"] == pytest.approx(right.mean())
    assert found["verdicts"]["ok"]["NOK"] == found["overkill"]
    assert sum(sum(row.values()) for row in found["verdicts"].values()) == 300
