"""Estimates, exact bounds and the three-way verdict of paired latencies; pure, numpy only.

A pair is d = ln(B / A) of two rounds that ran next to each other, so that what both share cancels out. Rounds are the
unit of all inference: iterations of one process depend on each other, and pooling them finds differences that are not
there. Pairs may depend on their neighbours too: what favours one side may last longer than a pair. Exact bounds hold
for independent pairs, so that the spread is first made as much wider as the correlation that cannot be ruled out asks
for; few pairs rule out little.

References:
    Hodges and Lehmann 1963 (estimate); Wilcoxon 1945 (signed ranks); Matteson and James 2014 (change points);
    Marriott and Pope 1954 (bias of a serial correlation).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Ruling = Literal["PASS", "REGRESSED", "IMPROVED", "INCONCLUSIVE"]
BOOTSTRAP_SAMPLES = 2000
PERMUTATIONS = 499
CONFIDENCE = 0.95
# Chosen on 30,000 series of first order with a standard deviation of 5 % and no change: at a memory of 0.7 about 4
# comparisons in 10,000 end REGRESSED, at 0.8 about 12; without this allowance 1,450 and more.
MEMORY_ERRORS = 2.8  # standard errors by which a serial correlation may be larger than it looks
MOST_MEMORY = 0.9  # what lasts longer cannot be told from a change within forty pairs


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How a comparison is decided.

    Attributes:
        looks: Numbers of pairs after which the data are judged; the last one ends it.
        error: One-sided error probability of every look, for slower and for faster each. Ten pairs can prove it for
            one metric; two share it and need twenty.
        min_effect: Smallest change that matters, as a share: a smaller one is never REGRESSED.
        margin: PASS proves that the slow-down is below this share.
    """

    looks: tuple[int, ...] = (10, 20, 40)
    error: float = 0.001
    min_effect: float = 0.02
    margin: float = 0.05

    def __post_init__(self) -> None:
        if not self.looks or list(self.looks) != sorted(set(self.looks)) or any(n < 2 or n % 2 for n in self.looks):
            raise UsageError("looks", "rising even numbers of pairs", str(self.looks), fix="10, 20, 40")
        if not 0 < self.error < 0.5:
            raise UsageError("error", "between 0 and 0.5", str(self.error), fix="0.001")
        if not 0 <= self.min_effect < self.margin:
            must, got = f"at least 0 and below the margin ({self.margin:g})", f"{self.min_effect:g}"
            raise UsageError("the smallest effect that matters", must, got, fix="a quieter machine, or a wider margin")
        if not math.isfinite(_bound_rank(self.looks[-1], self.error)):
            must = f"enough pairs for an error of {self.error:g}"
            raise UsageError("looks", must, str(self.looks), fix="10, 20, 40")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the pairs say so far.

    Attributes:
        verdict: None asks for more pairs.
        n: Pairs.
        estimate: Slow-down of B against A as a share; 0.05 is 5 % slower.
        lower: One-sided lower bound of it.
        upper: One-sided upper bound of it.
        p_slower: Probability of such pairs if B were not slower.
        memory: Correlation of the ranks of neighbouring pairs.
        widened: How many times as wide as for independent pairs the bounds are because of it.
    """

    verdict: Ruling | None
    n: int
    estimate: float
    lower: float
    upper: float
    p_slower: float
    memory: float = 0.0
    widened: float = 1.0


def hodges_lehmann(differences: Sequence[float]) -> float:
    """Return the median of all averages of two: robust as the median, nearly as exact as the mean.

    Example:
        >>> hodges_lehmann([0.0, 1.0, 100.0])
        25.5
    """
    return float(np.median(_walsh(differences)))


def bounds(differences: Sequence[float], error: float) -> tuple[float, float]:
    """Return one-sided lower and upper bounds of the centre, each wrong with at most probability `error`; exact.

    Example:
        >>> bounds([1.0, 2.0, 3.0], error=0.2)
        (1.0, 3.0)
        >>> bounds([1.0, 2.0, 3.0], error=0.05)
        (-inf, inf)
    """
    walsh = _walsh(differences)
    rank = _bound_rank(len(differences), error)
    if not math.isfinite(rank):
        return -math.inf, math.inf
    return float(walsh[int(rank)]), float(walsh[-1 - int(rank)])


def p_greater(differences: Sequence[float]) -> float:
    """Return the exact probability of signed ranks at least this far above zero if the centre were zero or less.

    Example:
        >>> p_greater([1.0, 2.0, 3.0])
        0.125
    """
    not_above = int((_walsh(differences) <= 0).sum())
    return float(_signed_rank_cdf(len(differences))[not_above])


def memory(series: Sequence[float]) -> float:
    """Return the correlation of the ranks of neighbouring values; 0 where all are equal.

    Example:
        >>> memory([1.0, 2.0, 3.0, 4.0, 5.0]), memory([1.0, -1.0, 1.0, -1.0])
        (0.4, -0.75)
    """
    values = np.asarray(series, np.float64)
    ranks = np.sign(values[:, None] - values[None, :]).sum(axis=1)  # centred; equal values share theirs
    spread = float((ranks * ranks).sum())
    return float((ranks[1:] * ranks[:-1]).sum()) / spread if spread else 0.0


def widening(series: Sequence[float]) -> float:
    """Return by what factor the spread must be widened before values are treated as independent; at least 1.

    It is that of a series of first order whose correlation is the largest that cannot be ruled out. A negative one is
    no evidence of less memory: in short series it comes by chance.

    Example:
        >>> round(widening([0.01, -0.01] * 5), 2), round(widening([0.01, -0.01] * 50), 2)
        (4.36, 1.37)
    """
    n = len(series)
    if n <= 4:
        largest = MOST_MEMORY
    else:  # a serial correlation looks smaller than it is by (1 + 4 r) / n
        seen = max(0.0, memory(series))
        largest = min(MOST_MEMORY, (seen + 1 / n + MEMORY_ERRORS / math.sqrt(n)) / (1 - 4 / n))
    return math.sqrt((1 + largest) / (1 - largest))


def widened(series: Sequence[float]) -> list[float]:
    """Move values away from their centre, so that what holds for independent values holds for these.

    Example:
        >>> [round(value, 4) for value in widened([0.01, -0.01] * 5)][:2]
        [0.0436, -0.0436]
    """
    centre, factor = hodges_lehmann(series), widening(series)
    return [centre + factor * (value - centre) for value in series]


def resolution(differences: Sequence[float], error: float) -> float:
    """Return how far pairs of one bundle with itself may lie from no change, as a share: a machine's noise floor.

    The bounds are those of independent pairs: how much wider few pairs make them says nothing of the machine.

    Example:
        >>> round(resolution([0.01, -0.01] * 5, error=0.001), 4)
        0.0101
    """
    return max(abs(_share(bound)) for bound in bounds(differences, error))


def judge(differences: Sequence[float], design: Design, *, error: float | None = None) -> Judgement:
    """Judge pairs at a look of the design.

    Args:
        differences: ln(B / A) of each pair.
        design: Looks, error and margins.
        error: Instead of the design's, where several metrics share it.

    Example:
        >>> judge([0.10, 0.11, 0.09, 0.10, 0.12, 0.10, 0.11, 0.09, 0.10, 0.08], Design()).verdict
        'REGRESSED'
        >>> judge([0.01, -0.01] * 5, Design()).verdict
        'PASS'
    """
    spread = widened(differences)
    low, high = bounds(spread, design.error if error is None else error)
    estimate, lower, upper = (_share(value) for value in (hodges_lehmann(differences), low, high))
    last = len(differences) >= design.looks[-1]
    verdict: Ruling | None = None
    if lower > 0 and estimate > design.min_effect:
        verdict = "REGRESSED"
    elif upper < 0 and estimate < -design.min_effect:
        verdict = "IMPROVED"
    elif upper < design.margin and (last or abs(estimate) <= design.min_effect):
        # an estimate that would matter is looked at again before it is let pass
        verdict = "PASS"
    elif last:
        verdict = "INCONCLUSIVE"
    return Judgement(
        verdict=verdict,
        n=len(differences),
        estimate=estimate,
        lower=lower,
        upper=upper,
        p_slower=p_greater(spread),
        memory=memory(differences),
        widened=widening(differences),
    )


def judge_together(
    differences: dict[str, Sequence[float]], design: Design
) -> tuple[Ruling | None, dict[str, Judgement]]:
    """Judge several gated metrics so that the error of the design holds for all of them together (Holm's steps).

    Args:
        differences: Metric → ln(B / A) of each pair.
        design: Looks, error and margins.

    Returns:
        The common verdict, None while one metric needs more pairs and none has regressed; and each metric's own.
    """
    order = sorted(differences, key=lambda name: p_greater(widened(differences[name])))
    found: dict[str, Judgement] = {}
    error = design.error / max(1, len(order))
    for step, name in enumerate(order):
        found[name] = judge(differences[name], design, error=error)
        if found[name].verdict == "REGRESSED" and step + 1 < len(order):
            error = design.error / (len(order) - step - 1)
    verdicts = [found[name].verdict for name in differences]
    if "REGRESSED" in verdicts:
        return "REGRESSED", found
    if None in verdicts:
        return None, found
    if "INCONCLUSIVE" in verdicts:
        return "INCONCLUSIVE", found
    return ("IMPROVED" if "IMPROVED" in verdicts else "PASS"), found


def bootstrap_interval(
    rounds: Sequence[float], *, centre: Callable[..., NDArray[np.float64]] = np.median, seed: int = 0
) -> tuple[float, float] | None:
    """Return the 95 % interval of the centre over rounds, resampling rounds and never iterations; None below 5 rounds.

    Example:
        >>> bootstrap_interval([1.0, 1.0, 1.0, 1.0, 1.0])
        (1.0, 1.0)
    """
    if len(rounds) < 5:
        return None
    values = np.asarray(rounds, np.float64)
    picks = np.random.default_rng(seed).integers(0, len(values), (BOOTSTRAP_SAMPLES, len(values)))
    low, high = np.quantile(centre(values[picks], axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def judge_unpaired(before: Sequence[float], after: Sequence[float], *, threshold: float, seed: int = 0) -> Judgement:
    """Judge rounds of today against stored rounds of another day, which no interleaving protects.

    Args:
        before: Medians of the stored rounds, in any unit.
        after: Medians of today's rounds, in the same unit.
        threshold: Share below which a change is the difference between days.
        seed: Of the bootstrap.

    Returns:
        REGRESSED and IMPROVED beyond the threshold in both bound and estimate, PASS within it, else INCONCLUSIVE.
    """
    rng = np.random.default_rng(seed)
    logs = [np.asarray(widened(list(np.log(np.asarray(values, np.float64))))) for values in (before, after)]
    draws = [np.median(v[rng.integers(0, len(v), (BOOTSTRAP_SAMPLES, len(v)))], axis=1) for v in logs]
    ratio = draws[1] - draws[0]
    estimate = _share(math.log(float(np.median(after)) / float(np.median(before))))
    lower, upper = (_share(float(q)) for q in np.quantile(ratio, [0.005, 0.995]))
    verdict: Ruling = "INCONCLUSIVE"
    if lower > 0 and estimate > threshold:
        verdict = "REGRESSED"
    elif upper < 0 and estimate < -threshold:
        verdict = "IMPROVED"
    elif upper < threshold:
        verdict = "PASS"
    return Judgement(
        verdict=verdict,
        n=min(len(before), len(after)),
        estimate=estimate,
        lower=lower,
        upper=upper,
        p_slower=float((ratio <= 0).mean()),
    )


def change_points(series: Sequence[float], *, p_below: float = 0.02, min_size: int = 4, seed: int = 0) -> list[int]:
    """Return where a series of records changes its level, as indices of the first value after each change.

    The split with the largest energy distance is tested by permutation, then both halves.

    Args:
        series: One figure per record, in the order of time.
        p_below: Probability of such a split in an unchanged series, below which it counts.
        min_size: Values needed on both sides.
        seed: Of the permutations.

    Example:
        >>> change_points([1.0, 1.01, 0.99, 1.0, 1.02, 1.3, 1.29, 1.31, 1.3, 1.28])
        [5]
    """
    values = np.asarray(series, np.float64)
    return sorted(_changes(values, 0, p_below, min_size, np.random.default_rng(seed)))


def _changes(
    values: NDArray[np.float64], offset: int, p_below: float, min_size: int, rng: np.random.Generator
) -> list[int]:
    if len(values) < 2 * min_size:
        return []
    at, height = _best_split(values, min_size)
    permuted = [_best_split(rng.permutation(values), min_size)[1] for _ in range(PERMUTATIONS)]
    p = (1 + sum(other >= height for other in permuted)) / (1 + PERMUTATIONS)
    if height <= 0 or p >= p_below:
        return []
    left = _changes(values[:at], offset, p_below, min_size, rng)
    right = _changes(values[at:], offset + at, p_below, min_size, rng)
    return [*left, offset + at, *right]


def _best_split(values: NDArray[np.float64], min_size: int) -> tuple[int, float]:
    """Return the split with the largest weighted energy distance, and that distance.

    What follows the split may end before the series does, or a level that returns would hide its own change.
    """
    n = len(values)
    sums = np.zeros((n + 1, n + 1))
    sums[1:, 1:] = np.abs(values[:, None] - values[None, :]).cumsum(axis=0).cumsum(axis=1)
    at, end = (axis.ravel() for axis in np.meshgrid(np.arange(min_size, n), np.arange(n + 1), indexing="ij"))
    usable = end - at >= min_size
    at, end = at[usable], end[usable]
    left, size = at.astype(np.float64), (end - at).astype(np.float64)
    within_left, to_end = sums[at, at], sums[at, end]
    between = (to_end - within_left) / (left * size)
    within = within_left / left**2 + (sums[end, end] - 2 * to_end + within_left) / size**2
    heights = (2 * between - within) * left * size / (left + size)
    best = int(heights.argmax())
    return int(at[best]), float(heights[best])


def _walsh(differences: Sequence[float]) -> NDArray[np.float64]:
    """Return the averages of all pairs of values, each with itself included, sorted."""
    values = np.asarray(differences, np.float64)
    first, second = np.triu_indices(len(values))
    return np.sort((values[first] + values[second]) / 2)


def _share(log_ratio: float) -> float:
    return math.expm1(log_ratio) if math.isfinite(log_ratio) else log_ratio


@functools.lru_cache(maxsize=256)
def _bound_rank(n: int, error: float) -> float:
    """Return how many of the sorted averages may lie beyond the bound; infinity if n is too small for any bound."""
    below = np.searchsorted(_signed_rank_cdf(n), error, side="right")
    return float(below - 1) if below else math.inf


@functools.lru_cache(maxsize=64)
def _signed_rank_cdf(n: int) -> NDArray[np.float64]:
    """Return P(W <= w) for w = 0 … n(n+1)/2 under the null, exact: subsets of 1…n counted by their sum."""
    counts = [1]
    for rank in range(1, n + 1):
        longer = counts + [0] * rank
        for w, count in enumerate(counts):
            longer[w + rank] += count
        counts = longer
    total, running, cdf = 2**n, 0, []
    for count in counts:
        running += count
        cdf.append(running / total)
    return np.asarray(cdf)
