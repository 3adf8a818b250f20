"""Who is fastest: candidates that took turns, ranked by paired medians; what is too near to tell is a tie. Pure."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING

from edgetl_runtime.bench.statistics import widening

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # the median of each turn in milliseconds; None where a candidate sat out
    Turns = Sequence[float | None]

TIE = 0.03  # a difference below this share is none: machines of one kind differ by more
ERROR = 0.005  # of each bound
BLOCKS = 40  # that many turns, or blocks of them, bound a ratio: enough to see how far they resemble their neighbours
PRECISIONS = ("f32", "bf16", "f16", "int8")  # the simplest first


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How much slower one candidate is than another, as shares: 0.05 is 5 %.

    Attributes:
        estimate: From the ratio of turns that lay next to each other.
        lower: Bound of it.
        upper: Bound of it.
    """

    estimate: float
    lower: float
    upper: float

    @property
    def tied(self) -> bool:
        """Whether no difference that matters is possible."""
        return self.lower >= -TIE and self.upper <= TIE

    @property
    def settled(self) -> bool:
        """Whether further turns would not change what is said: it is slower, or tied."""
        return self.tied or self.lower > 0

    @property
    def may_matter(self) -> bool:
        """Whether it may be faster by more than a tie."""
        return self.lower < -TIE


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Candidates by place in the list that was ranked.

    Attributes:
        order: Best first; the first one is to be chosen.
        tied: Those that cannot be told from the fastest one, itself included, the fastest first.
        gaps: Place → how much slower it is than the fastest one, for all others.
    """

    order: tuple[int, ...]
    tied: tuple[int, ...]
    gaps: dict[int, Gap]

    @property
    def unclear(self) -> tuple[int, ...]:
        """Those of which further turns may say more."""
        return tuple(at for at, found in self.gaps.items() if not found.settled)

    @property
    def rivals(self) -> tuple[int, ...]:
        """Those that may be faster than the fastest one by more than a tie: the choice is not decided."""
        return tuple(at for at, found in self.gaps.items() if found.may_matter)


def gap(first: Turns, other: Turns) -> Gap:
    """Return how much slower `other` is than `first`, from the turns that both took.

    It is their median ratio with exact bounds by its order statistics: whatever disturbed fewer than a third of the
    turns moves neither, however much. Turns are gathered in blocks, which depend less on their neighbours, and the
    bounds are widened by what is left of that.

    Example:
        >>> gap([2.0] * 20, [3.0] * 20)
        Gap(estimate=0.5, lower=0.5, upper=0.5)
        >>> gap([2.0], [3.0]).settled
        False
    """
    ratios = [math.log(b / a) for a, b in zip(first, other, strict=False) if a is not None and b is not None]
    if not ratios:
        return Gap(estimate=0.0, lower=-1.0, upper=math.inf)
    size = math.ceil(len(ratios) / BLOCKS)
    blocks = [statistics.median(ratios[i : i + size]) for i in range(0, len(ratios), size)]
    centre, factor = statistics.median(blocks), widening(blocks)
    logs = (centre, *(centre + factor * (bound - centre) for bound in _median_bounds(blocks)))
    estimate, lower, upper = (round(math.expm1(value), 9) for value in logs)
    return Gap(estimate=estimate, lower=lower, upper=upper)


def _median_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return bounds of the median, each wrong with at most probability `ERROR`; infinite where values are too few."""
    n, below, total = len(values), -1, 0
    while (total := total + math.comb(n, below + 1)) <= ERROR * 2**n:
        below += 1  # so many values may lie below the lower bound
    if below < 0:
        return -math.inf, math.inf
    ordered = sorted(values)
    return ordered[below], ordered[-1 - below]


def rank(turns: Sequence[Turns], prefer: Callable[[Sequence[int]], int] = lambda tied: tied[0]) -> Ranking:
    """Rank candidates by the medians of their turns.

    Args:
        turns: Of each candidate, in the order in which they were taken.
        prefer: Chooses among places of candidates that are tied, the fastest first; by default the fastest.

    Example:
        >>> rank([[2.0] * 20, [1.0] * 20, [1.01] * 20]).order
        (1, 2, 0)
        >>> rank([[2.0] * 20, [1.0] * 20, [1.01] * 20], prefer=max).order
        (2, 1, 0)
    """
    if not turns:
        return Ranking(order=(), tied=(), gaps={})
    fastest = _fastest(turns)
    gaps = {at: gap(turns[fastest], turns[at]) for at in range(len(turns)) if at != fastest}
    by_speed = (fastest, *sorted(gaps, key=lambda at: gaps[at].estimate))
    tied = tuple(at for at in by_speed if at == fastest or gaps[at].tied)
    best = prefer(tied)
    return Ranking(order=(best, *(at for at in by_speed if at != best)), tied=tied, gaps=gaps)


def _fastest(turns: Sequence[Turns]) -> int:
    """Return the place of the one that no other is faster than, by the turns that both took."""
    levels = [statistics.median([ms for ms in taken if ms is not None] or [math.inf]) for taken in turns]
    best = levels.index(min(levels))
    for _ in turns:  # levels of other turns may mislead; each step finds a faster one
        gaps = [gap(turns[best], taken).estimate for taken in turns]
        faster = gaps.index(min(gaps))
        if gaps[faster] >= 0:
            break
        best = faster
    return best


def lightest(tied: Sequence[int], *, memory_mb: Sequence[float | None], precisions: Sequence[str]) -> int:
    """Choose among candidates that are equally fast: the least memory, then the simplest precision.

    Memory of a process differs from run to run: within a tie of the least it counts as equal.

    Args:
        tied: Places, the fastest first.
        memory_mb: Of each of them, in their order; where one is not known, none counts.
        precisions: Of each of them, in their order.

    Example:
        >>> lightest([4, 7, 9], memory_mb=[130.0, 101.0, 100.0], precisions=["int8", "int8", "f32"])
        9
    """
    known = [mb for mb in memory_mb if mb is not None]
    least = min(known) if len(known) == len(tied) else math.inf
    light = [i for i in range(len(tied)) if len(known) < len(tied) or known[i] <= least * (1 + TIE)]
    return tied[min(light, key=lambda i: PRECISIONS.index(precisions[i]))]
