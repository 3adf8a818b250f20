"""Exact bounds of rates and the front of a choice: pure functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def binomial_upper(events: int, n: int, confidence: float = 0.95) -> float | None:
    """Exact one-sided upper bound of a rate after `events` in `n` (Clopper and Pearson, 1934); None for n = 0.

    Raises:
        UsageError: There are fewer events than none, or more than `n`.

    Example:
        >>> round(binomial_upper(0, 100), 4)
        0.0295
    """
    from scipy.stats import beta

    if not 0 <= events <= n:
        raise UsageError("events", f"from 0 to {n}", str(events), fix="count again")
    if n == 0:
        return None
    return 1.0 if events == n else float(beta.ppf(confidence, events + 1, n - events))


def trials_needed(rate: float, *, events: int = 0, confidence: float = 0.95) -> int:
    """Return how many trials are needed to claim a rate; without an event the rule of three, about 3 / rate at 95 %.

    Args:
        rate: To claim, between 0 and 1.
        events: How many the claim must bear.
        confidence: Of the one-sided claim, between 0 and 1.

    Raises:
        UsageError: An argument is out of range.

    Example:
        >>> trials_needed(0.01), trials_needed(0.01, events=1)
        (299, 473)
    """
    for name, value, usual in (("rate", rate, 0.01), ("confidence", confidence, 0.95)):
        if not 0 < value < 1:
            raise UsageError(name, "between 0 and 1", str(value), fix=f"{name} = {usual}")
    few, enough = events, events + 1
    while (binomial_upper(events, enough, confidence) or 0.0) > rate:
        few, enough = enough, enough * 2
    while enough - few > 1:
        middle = (few + enough) // 2
        if (binomial_upper(events, middle, confidence) or 0.0) > rate:
            few = middle
        else:
            enough = middle
    return enough


def percent_up(share: float) -> str:
    """Return a bound in per cent, rounded up: it may be stated too high, never too low.

    Example:
        >>> percent_up(0.0295)
        '3.0'
    """
    return f"{math.ceil(1000 * share - 1e-9) / 10:.1f}"


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points that no other one beats, cheapest first.

    Args:
        points: (cost, gain) each; of equal points all are kept, for none beats another.

    Example:
        >>> pareto_front([(4.0, 0.98), (2.0, 0.95), (3.0, 0.94), (9.0, 0.98)])
        [1, 0]
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front
