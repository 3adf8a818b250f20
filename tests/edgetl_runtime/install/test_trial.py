"""What ends a trial, and how."""

from __future__ import annotations

import pytest

from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import UsageError
from edgetl_runtime.install.trial import TrialLimits, TrialWatch


def watch_of(latencies, **limits):
    bounds = {name: limits.pop(name) for name in ("p50_ms", "p99_ms", "max_memory_mb") if name in limits}
    given = {"seconds": 10.0, "inferences": 100, "contract": Contract(**bounds), **limits}
    watch = TrialWatch(TrialLimits(**given), start_s=0.0)
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
        ([None, None, None, *[1.0] * 200], {}, "3 decisions in a row failed"),
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
    words = "p99 of 8 ms missed: 20 of 400 decisions took longer"
    assert watch_of(slow, p99_ms=8.0).verdict(11.0) == ("rollback", words)
    assert watch_of(slow, p99_ms=9.0).verdict(11.0)[0] == "commit"
    assert watch_of(slow, p50_ms=0.5).verdict(11.0)[0] == "rollback"
    one_miss = [1.0] * 9 + [9.0]
    assert watch_of(one_miss * 20, deadline_ms=4.0).verdict(11.0)[0] == "commit"


def test_slow_decisions_that_are_too_few_for_a_p99_are_a_breach():
    action, reason = watch_of([1000.0] * 200, p99_ms=10.0).verdict(11.0)
    assert (action, reason) == ("rollback", "p99 of 10 ms missed: 200 of 200 decisions took longer")


def test_a_bound_makes_the_trial_longer_until_it_is_proved_or_time_is_up():
    assert watch_of([1.0] * 298, p99_ms=8.0).verdict(11.0) is None
    assert watch_of([1.0] * 299, p99_ms=8.0).verdict(9.0) is None
    action, reason = watch_of([1.0] * 299, p99_ms=8.0).verdict(11.0)
    assert (action, reason) == (
        "commit",
        "299 decisions in 11.0 s, 0 failed; p99 of 8 ms kept: 0 of 299 decisions took longer",
    )
    one_late = [9.0, *[1.0] * 471]
    assert watch_of(one_late, p99_ms=8.0).verdict(11.0) is None
    assert watch_of([*one_late, 1.0], p99_ms=8.0).verdict(11.0)[0] == "commit"
    assert watch_of(one_late, p99_ms=8.0, extension=372).verdict(11.0) == (
        "rollback",
        "p99 of at most 8 ms (1 of 472 decisions took longer; more are needed to tell)",
    )


def test_unproven_bounds_that_were_allowed_end_it_at_its_shortest_but_broken_ones_do_not_pass():
    action, reason = watch_of([1.0] * 100, p99_ms=8.0, allow_unproven=True).verdict(11.0)
    assert action == "commit"
    assert reason.endswith(
        "p99 of at most 8 ms (0 of 100 decisions took longer; more are needed to tell), as was allowed"
    )
    assert watch_of([9.0] * 100, p99_ms=8.0, allow_unproven=True).verdict(11.0)[0] == "rollback"


def test_every_decision_counts_not_only_the_latest():
    late_first = [9.0] * 100 + [1.0] * 2000
    assert watch_of(late_first, p99_ms=8.0).verdict(11.0)[0] == "rollback"


def test_images_that_cannot_be_read_neither_count_nor_keep_a_trial_open_for_ever():
    watch = watch_of([1.0] * 99)
    for _ in range(99):
        watch.refuse()
    assert watch.verdict(11.0) is None
    watch.refuse()
    assert watch.verdict(11.0) == ("rollback", "100 of 199 images could not be read: nothing is proved")


def test_memory_is_the_self_tests_to_prove():
    assert watch_of([1.0] * 100, max_memory_mb=1.0).verdict(11.0)[0] == "commit"


def test_a_trial_that_proves_nothing_is_refused():
    with pytest.raises(UsageError, match="of one decision or more"):
        TrialLimits(inferences=0)
    with pytest.raises(UsageError, match="of 0 s or more"):
        TrialLimits(seconds=float("nan"))
