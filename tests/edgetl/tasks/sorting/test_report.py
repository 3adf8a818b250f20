"""What a report says of sorting."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.tasks import get
from edgetl.tasks.sorting import Aims, report
from edgetl_runtime.tasks.sorting import Labels, Params

LABELS = Labels(classes=("m3", "m4"))
TASK = get("sorting")


def figures(*, wrong=0, doubtful=0, n=400, groups=()):
    """Figures of n parts, half of each class, of which some are sorted wrongly and some are not sure."""
    truth = np.arange(n) % 2
    logits = np.where(truth[:, None] == np.arange(2), 8.0, 0.0).astype(np.float32)
    logits[:wrong] = logits[:wrong, ::-1]
    logits[n - doubtful :] = (0.1, 0.0)
    params = Params(unsure_below=0.7, temperature=1.0)
    return TASK.decided({"logits": logits}, truth, LABELS, params, groups).figures


def levels(found, wanted=None):
    points = report.points(found, wanted)
    return {point.level for point in points}, " ".join(point.text for point in points)


def test_nothing_speaks_against_what_is_sorted_rightly():
    assert levels(figures()) == (set(), "")
    assert report.statement(figures()).startswith("0 of 400 sorted parts of test in a wrong class: with 95 %")


@pytest.mark.parametrize(
    ("made", "wanted", "level", "words"),
    [
        ({"wrong": 100}, None, "stop", "100 of 400 sorted parts (25 %) are in a wrong class"),
        ({"wrong": 8}, 0.01, "stop", "8 of 400 sorted parts are in a wrong class (2.0 %); at most 1 % was asked for"),
        ({"wrong": 2}, None, "care", "2 parts of test in a wrong class"),
        ({"doubtful": 100}, None, "care", "100 of 400 test parts (25 %) are UNSURE"),
        ({"doubtful": 400}, None, "stop", "no part of test is sorted, all 400 are UNSURE"),
        ({"n": 30}, None, "care", "30 sorted parts on test cannot show an error rate below 5 %: that takes 59 for 5 %"),
    ],
)
def test_points_say_what_speaks_against_shipping(made, wanted, level, words):
    found, texts = levels(figures(**made), wanted)
    assert level in found
    assert words in texts


def test_bounds_count_groups():
    one = figures(n=40, groups=["lot"] * 40)
    assert "(1 group)" in report.statement(one)
    assert "less than 95.0 % of groups hold an error" in report.statement(one)


def test_a_bundle_that_sorts_more_parts_wrongly_is_said():
    (point,) = report.deployed_points("local", figures(wrong=3), figures(wrong=1))
    assert point.text == "local: 3 parts of test in a wrong class after optimisation, 1 before."
    assert report.deployed_points("local", figures(wrong=1), figures(wrong=1)) == []


@pytest.mark.parametrize(
    ("made", "level", "words"),
    [
        ({"doubtful": 400}, "stop", "0 of 0 sorted parts of test are in a wrong class, 400 UNSURE"),
        ({"wrong": 100}, "stop", "100 of 400 sorted parts of test are in a wrong class"),
        ({"doubtful": 100}, "care", "100 of 400 test parts are UNSURE"),
    ],
)
def test_a_bundle_that_hardly_sorts_is_never_a_yes(made, level, words):
    (point,) = report.deployed_points("local", figures(**made), figures())
    assert (point.level, words in point.text) == (level, True)
    assert report.deployed_points("local", {}, figures())[0].level == "care"


def test_aims_contradict_each_other_never_silently():
    with pytest.raises(Exception, match="--error-cost"):
        Aims(error_cost=3.0, max_error_rate=0.1)
