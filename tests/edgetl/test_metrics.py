"""Exact bounds, against their definition."""

from __future__ import annotations

import pytest
from scipy import stats

from edgetl import metrics
from edgetl_runtime.errors import UsageError


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


@pytest.mark.parametrize(("events", "n"), [(0, 1), (0, 299), (1, 20), (7, 90), (3, 5000), (19, 20)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_binomial_upper_equals_the_quantile_of_the_beta_distribution(events, n, confidence):
    expected = stats.beta.ppf(confidence, events + 1, n - events)
    assert metrics.binomial_upper(events, n, confidence) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("events", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_binomial_upper_refuses_counts_out_of_range(events, n):
    with pytest.raises(UsageError, match=f"events must be from 0 to {n}; got {events}"):
        metrics.binomial_upper(events, n)


@pytest.mark.parametrize(
    ("rate", "events", "n"), [(0.05, 0, 59), (0.01, 0, 299), (0.01, 1, 473), (0.001, 0, 2995), (0.5, 0, 5)]
)
def test_trials_needed_is_the_least_number_that_bears_the_claim(rate, events, n):
    assert metrics.trials_needed(rate, events=events) == n
    assert metrics.binomial_upper(events, n) <= rate < metrics.binomial_upper(events, n - 1)


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, float("nan")])
def test_a_rate_that_nothing_can_show_is_refused(rate):
    with pytest.raises(UsageError, match="rate must be between 0 and 1"):
        metrics.trials_needed(rate)
    with pytest.raises(UsageError, match="confidence must be between 0 and 1"):
        metrics.trials_needed(0.01, confidence=rate)
