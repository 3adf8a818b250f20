"""What counts of decisions show of a bound on a percentile."""

from __future__ import annotations

from fractions import Fraction
from math import comb

from edgetl_runtime import proof


def standing(n, over, percent):
    return proof.standing(n, over, percent).value


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
