"""Thresholds where the cost says they belong, and where the float model has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgetl.tasks.classes import likely_crossings
from edgetl.tasks.inspection import thresholds
from edgetl_runtime.tasks.inspection import Thresholds, defect_scores, verdicts

HALF = Thresholds(nok_at=0.5, ok_below=0.5)
SCORES = st.sampled_from([0.0, 5e-324, 1e-9, 0.25, 0.5, np.nextafter(0.5, 1), 1 - 1.2e-16, 1.0, 1.0 + 2.3e-16])
PARTS = st.lists(st.tuples(st.one_of(SCORES, st.floats(0, 1)), st.booleans()), min_size=1, max_size=12)
RATES = st.one_of(st.none(), st.sampled_from([0.0, 0.2, 0.5]))


def outcome(scores, defective, cut):
    return int((defective & (scores < cut)).sum()), int((~defective & (scores >= cut)).sum())


@pytest.mark.parametrize(
    ("options", "escapes", "overkill"),
    [
        ({"escape_cost": 5.0}, 0, 2),
        ({"escape_cost": 0.4}, 1, 0),
        ({"escape_cost": 5.0, "max_escape_rate": 0.0}, 0, 2),
        ({"escape_cost": 5.0, "max_escape_rate": 0.25}, 1, 0),
    ],
)
def test_fit_thresholds_minimises_the_stated_cost(options, escapes, overkill):
    scores = np.array([0.1, 0.2, 0.5, 0.6, 0.45, 0.7, 0.8, 0.9])
    defective = np.array([False] * 4 + [True] * 4)
    cut = thresholds.fit_thresholds(scores, defective, **options)
    assert cut.nok_at == cut.ok_below
    assert (defective & (scores < cut.nok_at)).sum() == escapes
    assert (~defective & (scores >= cut.nok_at)).sum() == overkill


def test_refit_thresholds_moves_as_little_as_possible():
    scores = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    defective = np.array([False, False, False, True, True, True])
    near = Thresholds(nok_at=0.4, ok_below=0.4)
    same = thresholds.refit_thresholds(scores, defective, near=near, reference=(0, 0), escape_cost=5.0)
    assert same == near
    shifted = thresholds.refit_thresholds(scores + 0.05, defective, near=HALF, reference=(0, 0), escape_cost=5.0)
    assert shifted == HALF
    low = Thresholds(nok_at=0.15, ok_below=0.15)
    moved = thresholds.refit_thresholds(scores, defective, near=low, reference=(0, 0), escape_cost=5.0)
    assert moved.nok_at == pytest.approx(0.5)
    tolerant = thresholds.refit_thresholds(scores, defective, near=low, reference=(0, 2), escape_cost=5.0)
    assert tolerant == low


def test_carry_thresholds_finds_the_same_cut_among_shifted_and_stretched_scores():
    margins = np.random.default_rng(0).normal(0, 3, 200)
    floats, moved = (1 / (1 + np.exp(-m)) for m in (margins, 0.7 * margins + 0.9))
    near = Thresholds(nok_at=0.3, ok_below=0.1)
    carried = thresholds.carry_thresholds(moved, reference=floats, near=near)
    assert carried.nok_at == pytest.approx(1 / (1 + np.exp(-(0.7 * np.log(0.3 / 0.7) + 0.9))), rel=1e-6)
    assert ((moved >= carried.nok_at) == (floats >= near.nok_at)).all()
    assert ((moved < carried.ok_below) == (floats < near.ok_below)).all()


@pytest.mark.parametrize("scores", [np.full(4, 0.5), np.array([0.9, 0.8, 0.2, 0.0])])
def test_carry_thresholds_keeps_them_where_the_scores_do_not_rise(scores):
    assert thresholds.carry_thresholds(scores, reference=np.array([0.0, 0.1, 0.9, 1.0]), near=HALF) == HALF


def test_likely_crossings_sees_past_the_gap_that_the_cut_was_put_into():
    rng = np.random.default_rng(0)
    margins = rng.uniform(-2, 2, 400)
    noisy = margins + rng.normal(0, 0.2, 400)
    everywhere = np.mean([((margins >= cut) != (noisy >= cut)).sum() for cut in np.linspace(-1, 1, 200)])
    gap = np.abs(margins - 0.3) > 0.3  # as if no part lay near the cut
    before, after = (1 / (1 + np.exp(-m[gap])) for m in (margins, noisy))
    cut = float(1 / (1 + np.exp(-0.3)))
    counted = ((before >= cut) != (after >= cut)).sum()
    likely = likely_crossings(before, after, cuts=(cut, cut), share=0.5)
    assert counted < 0.2 * everywhere
    assert likely == pytest.approx(everywhere * gap.mean(), rel=0.35)


def test_likely_crossings_follows_a_threshold_that_was_carried_over():
    margins = np.linspace(-3, 3, 101)
    before, after = (1 / (1 + np.exp(-m)) for m in (margins, margins + 0.5))
    assert likely_crossings(before, after, cuts=(0.5, 0.5)) == pytest.approx(8.3, abs=0.6)
    assert likely_crossings(before, after, cuts=(0.5, float(1 / (1 + np.exp(-0.5))))) < 1e-6


def cost_of(escapes, overkill, n_defect, escape_cost, max_escape_rate):
    if max_escape_rate is None:
        return escape_cost * escapes + overkill
    return overkill + escapes / (n_defect + 1) if escapes <= max_escape_rate * n_defect + 1e-9 else np.inf


def least_cost(scores, defective, *how):
    cuts = [0.0, 1.0, *scores[scores <= 1], *np.nextafter(scores[scores < 1], 2)]
    return min(cost_of(*outcome(scores, defective, cut), int(defective.sum()), *how) for cut in cuts)


@given(parts=PARTS, escape_cost=st.sampled_from([0.3, 1.0, 5.0]), rate=RATES)
@example(parts=[(1.0, False), (1.0, True)], escape_cost=0.3, rate=None)
@example(parts=[(0.0, False), (0.0, True)], escape_cost=5.0, rate=None)
def test_fit_thresholds_is_as_good_as_the_best_of_all_cuts(parts, escape_cost, rate):
    scores, defective = np.array([p[0] for p in parts]), np.array([p[1] for p in parts])
    cut = thresholds.fit_thresholds(scores, defective, escape_cost=escape_cost, max_escape_rate=rate).nok_at
    assert 0 <= cut <= 1
    found = cost_of(*outcome(scores, defective, cut), int(defective.sum()), escape_cost, rate)
    assert found == pytest.approx(least_cost(scores, defective, escape_cost, rate))


@given(parts=PARTS, escape_cost=st.sampled_from([0.3, 1.0, 5.0]))
def test_verdicts_keep_what_the_fit_promised(parts, escape_cost):
    """A cut between two scores lies on the same side of both when they are compared."""
    probs = np.array([[min(p[0], 1.0), max(1 - p[0], 0.0)] for p in parts])
    scores, defective = defect_scores(probs, ["bad", "ok"], ["bad"]), np.array([p[1] for p in parts])
    cut = thresholds.fit_thresholds(scores, defective, escape_cost=escape_cost)
    words = verdicts(scores, cut)
    judged = int((defective & (words == "OK")).sum()), int((~defective & (words == "NOK")).sum())
    assert judged == outcome(scores, defective, cut.nok_at)


@given(parts=PARTS, near=st.floats(0, 1), reference_=st.tuples(st.integers(0, 4), st.integers(0, 4)), rate=RATES)
def test_refit_thresholds_never_costs_more_than_the_reference_where_a_cut_allows_it(parts, near, reference_, rate):
    scores, defective = np.array([p[0] for p in parts]), np.array([p[1] for p in parts])
    n_defect, start = int(defective.sum()), Thresholds(nok_at=near, ok_below=near)
    options = {"escape_cost": 5.0, "max_escape_rate": rate}
    found = thresholds.refit_thresholds(scores, defective, near=start, reference=reference_, **options)
    allowed, least = cost_of(*reference_, n_defect, 5.0, rate), least_cost(scores, defective, 5.0, rate)
    spent = cost_of(*outcome(scores, defective, found.nok_at), n_defect, 5.0, rate)
    bound = max(allowed, least) if np.isfinite(allowed) else least
    assert spent <= bound + 1e-9
    if cost_of(*outcome(scores, defective, near), n_defect, 5.0, rate) <= bound - 1e-9:
        assert found == start


def test_a_band_of_unsure_is_as_wide_as_asked_and_ends_where_scores_do():
    band = thresholds.widened(HALF, 0.2)
    assert (band.ok_below, band.nok_at) == pytest.approx((0.4, 0.6))
    assert thresholds.widened(HALF, 0.0) == HALF
    low = thresholds.widened(Thresholds(nok_at=0.02, ok_below=0.02), 0.2)
    assert (low.ok_below, low.nok_at) == (0.0, pytest.approx(0.12))


def test_a_candidate_keeps_the_band_where_its_cut_moves():
    scores = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    defective = np.array([False, False, False, True, True, True])
    near = Thresholds(nok_at=0.15, ok_below=0.05)
    moved = thresholds.refit_thresholds(scores, defective, near=near, reference=(0, 0), escape_cost=5.0)
    assert moved.nok_at - moved.ok_below == pytest.approx(0.1)
    assert ((scores >= moved.nok_at) == defective).all()
    good = Thresholds(nok_at=0.55, ok_below=0.45)
    assert thresholds.refit_thresholds(scores, defective, near=good, reference=(0, 0), escape_cost=5.0) == good
