"""The bound below which a part is UNSURE: of least cost, or of an error rate on validation."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.tasks.sorting import Aims, fit_bound


def cost_of(bound, confidence, right, error_cost):
    placed = confidence >= bound
    return error_cost * (placed & ~right).sum() + (~placed).sum()


@pytest.mark.parametrize("error_cost", [0.5, 1.0, 5.0])
def test_fit_bound_is_of_least_cost_among_all_bounds(error_cost):
    rng = np.random.default_rng(0)
    for _ in range(50):
        confidence = rng.integers(4, 10, 30) / 10
        right = rng.random(30) < confidence
        best = min(cost_of(bound, confidence, right, error_cost) for bound in np.linspace(0, 1, 101))
        found = fit_bound(confidence, right, Aims(error_cost=error_cost))
        assert cost_of(found, confidence, right, error_cost) == best


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_fit_bound_sorts_as_many_parts_as_the_error_rate_allows(rate):
    rng = np.random.default_rng(1)
    for _ in range(50):
        confidence = rng.integers(4, 10, 30) / 10
        right = rng.random(30) < confidence

        def kept(bound, confidence=confidence, right=right):
            placed = confidence >= bound
            return (placed & ~right).sum() <= rate * placed.sum() + 1e-9

        found = fit_bound(confidence, right, Aims(max_error_rate=rate))
        assert kept(found)
        most = max((confidence >= bound).sum() for bound in np.linspace(0, 1, 101) if kept(bound))
        assert (confidence >= found).sum() == most


def test_fit_bound_leaves_the_fewest_errors_where_even_certain_parts_are_wrong():
    confidence, right = np.array([0.6, 0.8, 1.0]), np.array([False, True, False])
    found = fit_bound(confidence, right, Aims(max_error_rate=0.0))
    assert ((confidence >= found) & ~right).sum() == 1


def test_fit_bound_sorts_everything_where_all_is_right():
    assert fit_bound(np.array([0.4, 0.9]), np.array([True, True]), Aims()) == 0.0
