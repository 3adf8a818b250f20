"""What ends a trial, and how."""

from __future__ import annotations

import pytest

from edgetl_runtime.errors import UsageError
from edgetl_runtime.install.trial import TrialLimits, TrialWatch, limits_of


def watch_of(latencies, **limits):
    watch = TrialWatch(TrialLimits(**{"seconds": 10.0, "inferences": 100, **limits}), start_s=0.0)
    for latency in latencies:
        watch.record(latency)
    return watch


def test_a_trial_needs_both_its_time_and_its_decisions():
    assert watch_of([1.0] * 99).verdict(11.0) is None
    assert watch_of([1.0] * 100).verdict(9.0) is None
    assert watch_of([1.0] * 100).verdict(11.0) == ("commit", "100 decisions in 11.0 s, 0 failed")


@pytest.mark.parametrize(
    ("latencies", "limits", "words"),
    [
        ([1.0, None, None, None], {}, "3 decisions in a row failed"),
        ([5.0] * 10, {"deadline_ms": 4.0}, "10 deadlines of 4.0 ms in a row"),
    ],
)
def test_trouble_in_a_row_ends_it_at_once(latencies, limits, words):
    action, reason = watch_of(latencies, **limits).verdict(0.1)
    assert action == "rollback"
    assert words in reason


def test_rates_and_percentiles_are_judged_at_the_end():
    every_50th = [None if index % 50 == 0 else 1.0 for index in range(200)]
    assert watch_of(every_50th).verdict(5.0) is None
    assert watch_of(every_50th).verdict(11.0) == ("rollback", "4 of 200 decisions failed")
    slow = [1.0] * 380 + [9.0] * 20
    assert watch_of(slow, p99_ms=8.0).verdict(11.0) == ("rollback", "p99 of 9.00 ms > 8.00")
    assert watch_of(slow, p99_ms=9.0).verdict(11.0)[0] == "commit"
    one_miss = [1.0] * 9 + [9.0]
    assert watch_of(one_miss * 20, deadline_ms=4.0).verdict(11.0)[0] == "commit"


def test_limits_come_from_the_contract():
    assert limits_of({"p99_ms": 7}).p99_ms == 7.0
    assert limits_of({"p99_ms": None}, seconds=1.0).seconds == 1.0
    with pytest.raises(UsageError, match="of one decision or more"):
        TrialLimits(inferences=0)
