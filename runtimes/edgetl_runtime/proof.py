"""Whether a bound on a percentile is kept, shown by counting decisions over it: exact binomial tails, pure.

A p99 of at most 10 ms says that at most 1 % of all decisions take longer. So many of so many that did either show that
it is kept, or that it is missed, or they are too few to tell: then nobody may say that it is kept.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

from edgetl_runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Standing = Literal["kept", "missed", "unproven"]
ERROR = 0.05  # one-sided, of each statement


def standing(n: int, over: int, percent: float) -> Standing:
    """Say what `n` independent decisions of which `over` took longer show of a bound on a percentile.

    Args:
        n: Decisions.
        over: Those of them that took longer than the bound.
        percent: Of the percentile, 0 to 100: 99 allows 1 % of all decisions to take longer.

    Example:
        >>> standing(299, 0, 99), standing(298, 0, 99), standing(473, 1, 99), standing(472, 1, 99)
        ('kept', 'unproven', 'kept', 'unproven')
        >>> standing(200, 200, 99), standing(200, 6, 99), standing(200, 5, 99)
        ('missed', 'missed', 'unproven')
        >>> standing(5, 0, 50), standing(100, 41, 50), standing(100, 59, 50), standing(0, 0, 50)
        ('kept', 'kept', 'missed', 'unproven')
    """
    share = (100 - percent) / 100
    if _at_most(over, n, share) <= ERROR:
        return "kept"
    if _at_most(n - over, n, 1 - share) <= ERROR:  # so many over it, or more
        return "missed"
    return "unproven"


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


@dataclasses.dataclass(slots=True, kw_only=True)
class Count:
    """Decisions counted against one bound.

    Attributes:
        percent: Of the percentile that is bounded.
        limit_ms: The bound.
        n: Decisions so far.
        over: Those of them that took longer.

    Example:
        >>> count = Count(percent=99, limit_ms=10)
        >>> count.add([12.5] * 200)
        >>> str(count)
        'p99 of 10 ms missed: 200 of 200 decisions took longer'
    """

    percent: int
    limit_ms: float
    n: int = 0
    over: int = 0

    def add(self, latencies_ms: Iterable[float]) -> None:
        """Count decisions; one whose latency is not a number took longer."""
        for latency_ms in latencies_ms:
            self.n += 1
            self.over += not latency_ms <= self.limit_ms

    @property
    def standing(self) -> Standing:
        """Return what was shown so far."""
        return standing(self.n, self.over, self.percent)

    def __str__(self) -> str:
        return (
            f"p{self.percent} of {self.limit_ms:.9g} ms {self.standing}: {self.over} of {self.n} decisions took longer"
        )


def counts(*, p50_ms: float | None, p99_ms: float | None) -> tuple[Count, ...]:
    """Return an empty count of each bound that there is."""
    bounds = ((50, p50_ms), (99, p99_ms))
    return tuple(Count(percent=percent, limit_ms=limit) for percent, limit in bounds if limit is not None)


def bound(contract: Mapping[str, Any], term: str) -> float | None:
    """Return a bound of a bundle's contract, None where it says nothing.

    Raises:
        BundleError: It is no positive number: a bound that nobody can read must not count as none.

    Example:
        >>> bound({"p99_ms": 7, "p50_ms": None}, "p99_ms"), bound({"p50_ms": None}, "p50_ms")
        (7.0, None)
    """
    value = contract.get(term)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise BundleError(f"{term} in the bundle's contract", "a number above 0", f"{value!r:.40}", fix="deploy again")
    return float(value)
