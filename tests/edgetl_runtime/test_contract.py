"""One contract, one judge: what was measured or counted keeps a bound, misses it, or proves nothing."""

from __future__ import annotations

import json
import math

import pytest

from edgetl_runtime import manifest
from edgetl_runtime.contract import Contract, Figures, Latency, Measured, Tally, judge
from edgetl_runtime.errors import BundleError, UsageError
from edgetl_runtime.proof import Standing
from edgetl_runtime.schema import from_mapping, to_mapping

FULL = Contract(p50_ms=5, p99_ms=8, max_memory_mb=200)


def standings(contract, **figures):
    return {term.name: term.standing.value for term in judge(contract, Figures(**figures))}


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "10", [1], -0.001])
@pytest.mark.parametrize("name", ["max_drop_pp", "max_flips_pct", "p50_ms", "p99_ms", "max_memory_mb", "max_size_mb"])
def test_a_bound_that_is_no_finite_number_from_0_is_refused(name, value):
    with pytest.raises(UsageError) as caught:
        Contract(**{name: value})
    assert caught.value.what == "--" + name.replace("_", "-")
    assert caught.value.must == "0 or above"


def test_a_contract_crosses_json_whole_and_terms_of_tasks_stay_opaque():
    contract = Contract(p99_ms=8, max_escapes=0, max_escapes_of={"crack": 0}, max_overkill=None)
    assert contract.of_task == {"max_escapes": 0, "max_escapes_of": {"crack": 0}}
    assert from_mapping(Contract, json.loads(json.dumps(to_mapping(contract))), where="here") == contract


def test_a_bundles_contract_is_typed_and_read_strictly(tiny_parts):
    fields, _ = tiny_parts()
    assert manifest.parse(manifest.dump(fields)).contract == fields.contract == Contract()
    told = json.loads(manifest.dump(fields))
    for wrong in ({"p99_ms": "8"}, {"p99_ms": -1}, {"p99_mss": 8}, []):
        with pytest.raises(BundleError, match="contract"):
            manifest.parse(json.dumps(told | {"contract": wrong}).encode())


def test_what_nobody_measured_is_unproven():
    found = judge(FULL, Figures(why_untimed="not measured on jetson", why_no_memory="the kernel does not say"))
    assert [term.standing for term in found] == [Standing.UNPROVEN] * 3
    assert [term.reason for term in found] == [*["not measured on jetson"] * 2, "the kernel does not say"]
    assert judge(Contract(), Figures()) == ()


@pytest.mark.parametrize(
    ("latency", "standing"),
    [
        (Latency(n=299, over=0), "kept"),
        (Latency(n=298, over=0), "unproven"),
        (Latency(n=300, over=4), "unproven"),
        (Latency(n=300, over=300), "missed"),
        (Latency(n=0, over=0), "unproven"),
        (Latency(value_ms=7.0, n=299, over=0), "kept"),
        (Latency(value_ms=8.1, n=300, over=4), "missed"),  # among candidates the point itself must keep it
        (Latency(value_ms=math.nan, n=300, over=0), "missed"),
        (Latency(value_ms=7.0, n=300), "kept"),  # nobody counted: the point decides
        (Latency(value_ms=None, n=20), "unproven"),
    ],
)
def test_a_p99_is_judged_by_counts_where_there_are_any(latency, standing):
    assert standings(Contract(p99_ms=8), p99=latency) == {"p99_ms": standing}


@pytest.mark.parametrize(
    ("figures", "standing"),
    [
        ({"memory_mb": 200.0}, "kept"),
        ({"memory_mb": 200.1}, "missed"),
        ({"memory_mb": math.nan}, "missed"),
        ({"least_memory_mb": 100.0}, "unproven"),
        ({"least_memory_mb": 201.0}, "missed"),  # whatever the rest of it took
        ({"least_memory_mb": math.nan}, "missed"),
    ],
)
def test_memory_is_kept_only_where_its_peak_is_known(figures, standing):
    assert standings(Contract(max_memory_mb=200), **figures) == {"max_memory_mb": standing}


def test_a_tally_counts_what_is_no_number_as_late():
    tally = Tally(what=Measured.P50, bound_ms=2.0)
    tally.add([2.0, 2.1, math.nan])
    assert (tally.n, tally.over, tally.standing) == (3, 2, Standing.UNPROVEN)
    assert [t.what for t in Contract(p99_ms=3.0).tallies()] == [Measured.P99]
    assert Contract().tallies() == ()


def test_clauses_say_the_figure_or_what_was_counted():
    figures = Figures(p50=Latency(value_ms=4.5, n=300), p99=Latency(n=200, over=200), least_memory_mb=250.0)
    assert [term.clause for term in judge(FULL, figures)] == [
        "p50 4.50 ms <= 5.00",
        "p99 of 8 ms missed: 200 of 200 decisions took longer",
        "memory 250.00 MB > 200.00",
    ]
