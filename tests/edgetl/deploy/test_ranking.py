"""Places by paired medians: what disturbs one turn decides nothing, and what cannot be told apart is a tie."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgetl.deploy import ranking
from edgetl.deploy.ranking import TIE, gap, rank


def turns(level_ms, *, n=30, noise=0.0, seed=0):
    return list(level_ms * np.exp(noise * np.random.default_rng(seed).normal(size=n)))


@pytest.mark.parametrize(("n", "rivals"), [(30, (1, 2)), (70, ())])
def test_one_disturbed_round_does_not_make_the_fastest_candidate_lose(n, rivals):
    disturbed = turns(2.1, n=n)
    disturbed[10:20] = [200.0] * 10
    found = rank([disturbed, turns(7.9, n=n), turns(8.5, n=n)])
    assert (found.order, found.tied) == ((0, 1, 2), (0,))
    assert found.unclear == found.rivals == rivals  # a third of all turns: more are asked for
    assert found.gaps[1].estimate == pytest.approx(7.9 / 2.1 - 1)


@pytest.mark.parametrize("n", [10, 30, 40])
def test_bounds_hold_the_median_as_often_as_promised(n):
    rng = np.random.default_rng(n)
    wrong = sum(ranking._median_bounds(list(rng.exponential(size=n)))[0] > math.log(2) for _ in range(4000))
    assert 0 < wrong <= 4000 * ranking.ERROR + 3 * math.sqrt(4000 * ranking.ERROR)


def test_what_the_machine_does_to_both_cancels():
    mood = np.exp(0.3 * np.random.default_rng(1).normal(size=30))
    found = rank([list(2.0 * mood), list(2.1 * mood)])
    assert found.gaps[1].lower == pytest.approx(0.05) == found.gaps[1].upper


@pytest.mark.parametrize(
    ("other_ms", "noise", "tied", "settled", "may_matter"),
    [
        (2.0, 0.005, True, True, False),
        (2.04, 0.002, True, True, False),  # surely slower, but by less than what matters
        (2.2, 0.01, False, True, False),
        (2.0, 0.2, False, False, True),
        (2.05, 0.02, False, False, False),  # may be slower by more than a tie, may not be faster by so much
    ],
)
def test_a_gap_is_tied_settled_or_open(other_ms, noise, tied, settled, may_matter):
    found = gap(turns(2.0), turns(other_ms, noise=noise, seed=5))
    assert (found.tied, found.settled, found.may_matter) == (tied, settled, may_matter), found
    assert found.lower <= found.estimate <= found.upper


def test_few_turns_say_nothing_and_more_turns_say_more():
    assert gap([], []).may_matter
    assert gap(turns(2.0, n=3), turns(3.0, n=3)) == ranking.Gap(estimate=0.5, lower=-1.0, upper=math.inf)
    widths = []
    for n in (10, 40, 400):
        found = gap(turns(2.0, n=n, noise=0.1, seed=1), turns(2.0, n=n, noise=0.1, seed=2))
        widths.append(found.upper - found.lower)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_turns_that_one_of_them_did_not_take_are_left_out():
    late = [None] * 10 + turns(3.0, n=20)
    mood = turns(20.0, n=10) + turns(2.0, n=20)
    assert gap(mood, late).estimate == pytest.approx(0.5)
    # by all of its turns the first one seems slower than the second; beside each other it is faster
    assert rank([mood[:12], late[:12] + [50.0] * 5]).order[0] == 0


def test_turns_that_resemble_their_neighbours_count_for_fewer():
    lasting = [0.97] * 10 + [1.03] * 10 + [0.98] * 10 + [1.02] * 10
    shuffled = list(np.random.default_rng(0).permutation(lasting))
    found = [gap([1.0] * 40, values) for values in (lasting, shuffled)]
    assert found[0].upper - found[0].lower > 1.5 * (found[1].upper - found[1].lower) > 0


@pytest.mark.parametrize(
    ("memory_mb", "precisions", "place"),
    [
        ([130.0, 90.0, 110.0], ["int8", "int8", "f32"], 1),
        ([130.0, 90.0, 90.0 * (1 + TIE / 2)], ["int8", "int8", "f32"], 2),  # memory is tied too
        ([130.0, None, 110.0], ["int8", "bf16", "int8"], 1),  # not known of all: it decides nothing
        ([100.0, 100.0, 100.0], ["int8", "int8", "int8"], 0),
    ],
)
def test_of_equally_fast_ones_the_lightest_then_the_simplest(memory_mb, precisions, place):
    assert ranking.lightest([0, 1, 2], memory_mb=memory_mb, precisions=precisions) == place


def test_a_tie_is_of_the_fastest_one_and_not_of_the_next():
    found = rank([turns(2.0), turns(2.05), turns(2.1)], prefer=max)
    assert (found.tied, found.order) == ((0, 1), (1, 0, 2))
    assert rank([]).order == ()
