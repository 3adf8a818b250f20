"""Whether a bound on a percentile is kept, shown by counting decisions over it: exact binomial tails, pure.

A p99 of at most 10 ms says that at most 1 % of all decisions take longer. So many of so many that did either show that
it is kept, or that it is missed, or they are too few to tell: then nobody may say that it is kept.
"""

from __future__ import annotations

import enum
import math

ERROR = 0.05  # one-sided, of each statement


class Standing(enum.Enum):
    """How a bound ended."""

    KEPT = "kept"
    MISSED = "missed"
    UNPROVEN = "unproven"


def standing(n: int, over: int, percent: float) -> Standing:
    """Say what `n` independent decisions of which `over` took longer show of a bound on a percentile.

    Args:
        n: Decisions.
        over: Those of them that took longer than the bound.
        percent: Of the percentile, 0 to 100: 99 allows 1 % of all decisions to take longer.

    Example:
        >>> [standing(n, over, 99).value for n, over in ((299, 0), (298, 0), (473, 1), (472, 1))]
        ['kept', 'unproven', 'kept', 'unproven']
        >>> [standing(200, over, 99).value for over in (200, 6, 5)]
        ['missed', 'missed', 'unproven']
        >>> [standing(n, over, 50).value for n, over in ((5, 0), (100, 41), (100, 59), (0, 0))]
        ['kept', 'kept', 'missed', 'unproven']
    """
    share = (100 - percent) / 100
    if _at_most(over, n, share) <= ERROR:
        return Standing.KEPT
    if _at_most(n - over, n, 1 - share) <= ERROR:  # so many over it, or more
        return Standing.MISSED
    return Standing.UNPROVEN


def _at_most(k: int, n: int, share: float) -> float:
    """Return the binomial probability of at most `k` of `n`; the sums run from the edge outward, where they shrink."""
    if k >= n:
        return 1.0
    return _outward(k, n, share) if k < n * share else 1.0 - _outward(n - k - 1, n, 1 - share)


def _outward(k: int, n: int, share: float) -> float:
    """Sum the probabilities of k, k - 1, … of n, which lie below the mean, until no more is added."""
    logarithm = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    term = math.exp(logarithm + k * math.log(share) + (n - k) * math.log1p(-share))
    total = 0.0
    while k >= 0 and total + term > total:
        total += term
        term *= k * (1 - share) / ((n - k + 1) * share)
        k -= 1
    return total
