"""What counts of decisions show of a bound on a percentile."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from edgetl_runtime.errors import BundleError
from edgetl_runtime.proof import Count, bound, counts, standing


def exact(n, over, percent):
    """The same by fractions, summed term by term."""
    share = Fraction(100 - percent, 100)
    terms = [comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    if sum(terms[: over + 1]) <= Fraction(1, 20):
        return "kept"
    return "missed" if sum(terms[over:]) <= Fraction(1, 20) else "unproven"


def test_standing_is_exact():
    for percent in (50, 99):
        for n in (1, 2, 5, 6, 60, 299, 473):
            for over in {*range(min(n, 7) + 1), n // 2, n}:
                assert standing(n, over, percent) == exact(n, over, percent), (n, over, percent)


def test_a_p99_is_proved_from_so_many_decisions_on():
    for over, n in enumerate((299, 473, 628, 773, 913, 1049)):
        assert (standing(n, over, 99), standing(n - 1, over, 99)) == ("kept", "unproven")


def test_many_decisions_are_judged_as_well():
    million = 1_000_000
    found = [standing(million, over, 99) for over in (0, 9_836, 9_837, 10_164, 10_165, million)]
    assert found == ["kept", "kept", "unproven", "unproven", "missed", "missed"]


def test_nothing_is_shown_by_nothing():
    assert standing(0, 0, 99) == standing(0, 0, 50) == "unproven"


def test_a_count_counts_what_is_no_number_as_late():
    count = Count(percent=50, limit_ms=2.0)
    count.add([2.0, 2.1, float("nan")])
    assert (count.n, count.over) == (3, 2)
    assert [c.percent for c in counts(p50_ms=None, p99_ms=3.0)] == [99]
    assert counts(p50_ms=None, p99_ms=None) == ()


@pytest.mark.parametrize("value", [0, -1, "10", float("nan"), float("inf"), True, [1]])
def test_a_bound_that_is_no_positive_number_is_refused(value):
    with pytest.raises(BundleError, match="p99_ms in the bundle's contract must be a number above 0"):
        bound({"p99_ms": value}, "p99_ms")
