"""Thresholds of the verdict: fitted on validation, kept, carried over or fitted again for a candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgetl.tasks.classes import log_odds
from edgetl_runtime.tasks.inspection import Thresholds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]


def fit_thresholds(
    scores: Floats, defective: NDArray[np.bool_], *, escape_cost: float, max_escape_rate: float | None = None
) -> Thresholds:
    """Choose the verdict threshold on validation.

    Args:
        scores: Defect scores, float (N,), 0 to 1.
        defective: Which parts are defective, bool (N,).
        escape_cost: What an escape costs, in units of one overkill; the sum is minimised.
        max_escape_rate: If given, instead: the least overkill at which the escape rate is at most this, 0 to 1, and
            of equal overkill the fewest escapes.

    Returns:
        Thresholds with both sides equal (no UNSURE), in the middle of the gap between two neighbouring scores so that
        a small numerical change flips as few parts as possible. Of several equally good gaps the widest is taken.

    Example:
        >>> fit_thresholds(np.array([0.1, 0.2, 0.8]), np.array([False, False, True]), escape_cost=5).nok_at
        0.5
    """
    edges, escapes, overkill = _cuts(scores, defective)
    cost = _cost(escapes, overkill, int(defective.sum()), escape_cost, max_escape_rate)
    best = np.flatnonzero(cost == cost.min())
    which = best[np.diff(edges)[best].argmax()]
    cut = float(_middles(edges)[which])
    return Thresholds(nok_at=cut, ok_below=cut)


def widened(thresholds: Thresholds, band: float) -> Thresholds:
    """Return thresholds with a band of UNSURE around a cut.

    Args:
        thresholds: As fitted, both sides equal.
        band: Width in defect score, 0 to 1, half of it on each side; it ends at 0 and at 1.

    Example:
        >>> widened(Thresholds(nok_at=0.5, ok_below=0.5), 0.2)
        Thresholds(nok_at=0.6, ok_below=0.4)
    """
    return Thresholds(nok_at=min(thresholds.nok_at + band / 2, 1.0), ok_below=max(thresholds.ok_below - band / 2, 0.0))


def refit_thresholds(
    scores: Floats,
    defective: NDArray[np.bool_],
    *,
    near: Thresholds,
    reference: tuple[int, int],
    escape_cost: float,
    max_escape_rate: float | None = None,
) -> Thresholds:
    """Re-fit the threshold of a candidate: at most the float model's cost, moved as little as possible.

    Fitting each candidate from scratch would jump between cuts of equal cost and flip decisions for nothing.

    Args:
        scores: Defect scores of the candidate, float (N,), 0 to 1.
        defective: Which parts are defective, bool (N,).
        near: Thresholds of the float model.
        reference: Escapes and overkill of the float model at `near`.
        escape_cost: As in `fit_thresholds`.
        max_escape_rate: As in `fit_thresholds`.

    Returns:
        `near` itself where it costs no more; else the nearest cut that does not; else the cheapest one. A band of
        UNSURE keeps its width around the cut.
    """
    edges, _, _ = _cuts(scores, defective)
    band, centre = near.nok_at - near.ok_below, (near.nok_at + near.ok_below) / 2
    cuts = np.append(_middles(edges), centre)
    escapes, overkill = _outcomes(scores, defective, cuts, band=band)
    n_defect = int(defective.sum())
    cost = _cost(escapes, overkill, n_defect, escape_cost, max_escape_rate)
    allowed = float(
        _cost(np.array([reference[0]]), np.array([reference[1]]), n_defect, escape_cost, max_escape_rate)[0]
    )
    if not np.isfinite(allowed):  # on these scores the float model itself is beyond the escape rate
        allowed = float(cost.min())
    if cost[-1] <= allowed:
        return near
    cuts = cuts[cost <= max(allowed, cost.min())]
    cut = float(cuts[np.abs(cuts - centre).argmin()])
    return widened(Thresholds(nok_at=cut, ok_below=cut), band)


def carry_thresholds(scores: Floats, *, reference: Floats, near: Thresholds) -> Thresholds:
    """Carry the float model's thresholds over to a candidate whose scores are shifted or stretched.

    A straight line through the log-odds of the two models' scores on the same parts says where the float model's
    threshold lies among the candidate's scores. It has two parameters and all parts vote, so that it promises for
    other parts what it shows on these; the cut with the fewest changed verdicts does not.

    Args:
        scores: Defect scores of the candidate, float (N,), 0 to 1.
        reference: Defect scores of the float model for the same parts, float (N,), 0 to 1.
        near: Thresholds of the float model.

    Returns:
        The carried thresholds; `near` itself where the candidate's scores do not rise with the float model's.

    Example:
        >>> floats = np.array([0.1, 0.5, 0.9])
        >>> half = Thresholds(nok_at=0.5, ok_below=0.5)
        >>> round(carry_thresholds(np.array([0.25, 0.75, 0.9643]), reference=floats, near=half).nok_at, 2)
        0.75
    """
    before, after = log_odds(reference), log_odds(scores)
    spread = float(np.var(before))
    slope = float(np.mean((before - before.mean()) * (after - after.mean()))) / spread if spread else 0.0
    if slope <= 0:
        return near
    cuts = log_odds(np.array([near.nok_at, near.ok_below]))
    nok_at, ok_below = 1 / (1 + np.exp(-(after.mean() + slope * (cuts - before.mean()))))
    return Thresholds(nok_at=float(nok_at), ok_below=float(ok_below))


def _cuts(scores: Floats, defective: NDArray[np.bool_]) -> tuple[Floats, Labels, Labels]:
    """Return the edges of the gaps between scores, and the escapes and overkill of a cut inside each gap.

    A cut is at most 1: a part with a defect score of 1 is NOK whatever the cost.
    """
    scores = np.minimum(scores, 1.0)  # a sum of probabilities can be a little more
    edges = np.concatenate([[0.0], np.unique(scores)])
    if edges[-1] < 1:
        edges = np.append(edges, 1.0)
    bad, good = np.sort(scores[defective]), np.sort(scores[~defective])
    escapes = np.searchsorted(bad, edges[:-1], side="right")  # a cut above this edge lets them pass
    escapes[0] = 0
    overkill = len(good) - np.searchsorted(good, edges[1:], side="left")
    return edges, escapes, overkill


def _outcomes(scores: Floats, defective: NDArray[np.bool_], cuts: Floats, *, band: float) -> tuple[Labels, Labels]:
    """Return escapes and overkill at cuts in the middle of a band of UNSURE."""
    scores = np.minimum(scores, 1.0)
    bad, good = np.sort(scores[defective]), np.sort(scores[~defective])
    escapes = np.searchsorted(bad, np.maximum(cuts - band / 2, 0.0), side="left")
    overkill = len(good) - np.searchsorted(good, np.minimum(cuts + band / 2, 1.0), side="left")
    return escapes, overkill


def _middles(edges: Floats) -> Floats:
    """Return a cut inside each gap: above its lower edge also where the two edges are neighbouring numbers."""
    return np.minimum(np.maximum((edges[:-1] + edges[1:]) / 2, np.nextafter(edges[:-1], 2)), edges[1:])


def _cost(
    escapes: Labels, overkill: Labels, n_defect: int, escape_cost: float, max_escape_rate: float | None
) -> Floats:
    if max_escape_rate is None:
        return np.asarray(escape_cost * escapes + overkill, np.float64)
    allowed = escapes <= np.floor(max_escape_rate * n_defect + 1e-9)
    return np.where(allowed, overkill + escapes / (n_defect + 1), np.inf)
