"""A bound that nobody measured is neither kept nor missed, and that is said."""

from __future__ import annotations

import pytest

from edgetl.deploy.contract import Judge
from edgetl.deploy.terms import measured_terms, require_proof, untested_terms
from edgetl_runtime.contract import Contract, Term, of_standing
from edgetl_runtime.errors import UnfitError
from edgetl_runtime.proof import Standing
from edgetl_runtime.tasks import inspection, sorting


def figures(*, n=300, p50=2.0, p99=4.0, slower=(5.0,)):
    return {"n": n, "decision_ms": {"p50": p50, "p99": p99, "max": 9.0}, "slowest_ms": list(slower)}


@pytest.mark.parametrize(
    ("n", "slower", "p99", "standing"),
    [
        (299, 0, 4.0, Standing.KEPT),  # 0.99^299 < 0.05
        (298, 0, 4.0, Standing.UNPROVEN),
        (473, 1, 4.0, Standing.KEPT),
        (472, 1, 4.0, Standing.UNPROVEN),
        (300, 1, 4.0, Standing.UNPROVEN),
        (300, 4, 8.1, Standing.MISSED),
        (20, 0, None, Standing.UNPROVEN),
        (300, 0, float("nan"), Standing.MISSED),
    ],
)
def test_p99_is_kept_only_where_the_count_of_slower_decisions_proves_it(n, slower, p99, standing):
    latency = figures(n=n, p99=p99, slower=[9.0] * slower + [4.0] * 5)
    (term,) = measured_terms(Contract(p99_ms=8), latency=latency, memory_mb=None, target="local")
    assert term.standing is standing
    assert bool(term.reason) == (standing is Standing.UNPROVEN)


@pytest.mark.parametrize(
    ("value", "standing"), [(100.0, Standing.KEPT), (100.1, Standing.MISSED), (None, Standing.UNPROVEN)]
)
def test_memory_is_held_where_it_was_measured(value, standing):
    (term,) = measured_terms(Contract(max_memory_mb=100), latency=None, memory_mb=value, target="jetson-orin-nano")
    assert term.standing is standing
    assert (term.reason == "not measured on jetson-orin-nano") == (value is None)


def test_every_bound_on_what_was_not_measured_is_unproven():
    contract = Contract(p50_ms=1, p99_ms=2, max_memory_mb=3)
    terms = measured_terms(contract, latency=None, memory_mb=None, target="jetson")
    assert [(t.name, t.standing) for t in terms] == [
        (name, Standing.UNPROVEN) for name in ("p50_ms", "p99_ms", "max_memory_mb")
    ]
    assert measured_terms(Contract(), latency=None, memory_mb=None, target="jetson") == ()


def test_missed_terms_are_named_with_both_figures():
    contract = Contract(p50_ms=1.9, p99_ms=3.9, max_memory_mb=1)
    terms = measured_terms(contract, latency=figures(), memory_mb=123.0, target="local")
    missed = ["p50 2.00 ms > 1.90", "p99 4.00 ms > 3.90", "memory 123.00 MB > 1.00"]
    assert of_standing(terms, Standing.MISSED) == missed


def test_bound_on_parts_that_a_split_does_not_hold_is_unproven():
    counts = {"val": {"crack": 0, "dent": 4, "good": 3}, "test": {"crack": 2, "dent": 4, "good": 0}}
    labels = inspection.Labels(classes=("crack", "dent", "good"), defect_classes=("crack", "dent"))
    contract = Contract(max_escapes=1, max_overkill=2, max_escapes_of={"crack": 0, "dent": 0})
    terms = untested_terms(Judge.of(contract, task="inspection", labels=labels), counts)
    assert [t.clause for t in terms] == [
        "escapes of crack of at most 0 (val holds no part of crack)",
        "overkill of at most 2 (test holds no good part)",
    ]
    assert untested_terms(Judge.of(Contract(), task="inspection", labels=labels), counts) == ()


def test_bound_on_a_pair_of_classes_is_unproven_where_a_split_holds_no_part_of_the_first():
    counts = {"val": {"m3": 4, "m4": 0}, "test": {"m3": 4, "m4": 2}}
    contract = Contract(max_confused={"m3:m4": 1, "m4:m3": 0})
    labels = sorting.Labels(classes=("m3", "m4"))
    terms = untested_terms(Judge.of(contract, task="sorting", labels=labels), counts)
    assert [t.clause for t in terms] == ["m4 sorted as m3 of at most 0 (val holds no part of m4)"]


def test_unproven_terms_stop_unless_allowed():
    term = Term(name="p99_ms", bound=8, value=None, standing=Standing.UNPROVEN, reason="not measured on jetson")
    require_proof([term], allowed=True)
    with pytest.raises(UnfitError, match=r"p99 of at most 8 ms \(not measured on jetson\)") as caught:
        require_proof([term], allowed=False)
    assert caught.value.exit_code == 4
    assert "--allow-unproven" in caught.value.fix
