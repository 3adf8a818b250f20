"""The contract: each term breaks alone, at its bound and not before."""

from __future__ import annotations

import pytest

from edgetl.deploy.contract import Contract, breaches
from edgetl_runtime.errors import UsageError

KEPT = {"drop_pp": 0.0, "flips": 0, "n": 1000, "escapes": 2, "overkill": 5, "p99_ms": 4.0, "memory_mb": 100.0}


@pytest.mark.parametrize(
    ("contract", "changes", "clause"),
    [
        (Contract(), {"drop_pp": 0.6}, "accuracy drop 0.60 pp > 0.50"),
        (Contract(), {"drop_pp": 0.5}, None),
        (Contract(), {"drop_pp": 5.0, "n": 20}, None),  # one image of twenty
        (Contract(), {"drop_pp": 10.0, "n": 20}, "accuracy drop 10.00 pp > 5.00"),
        (Contract(), {"flips": 20}, None),
        (Contract(), {"flips": 21}, "flips 2.10 % > 2.00"),
        (Contract(), {"flips": 1, "n": 20}, None),  # one image of twenty
        (Contract(), {"flips": 2, "n": 20}, "flips 10.00 % > 5.00"),
        (Contract(max_flips_pct=0), {"flips": 1, "n": 20}, "flips 5.00 % > 0.00"),
        (Contract(), {"escapes": 3}, None),
        (Contract(), {"escapes": 4}, "escapes 4 > 3"),
        (Contract(max_escapes=1), {}, "escapes 2 > 1"),
        (Contract(), {"overkill": 900}, None),
        (Contract(max_overkill=4), {}, "overkill 5 > 4"),
        (Contract(p99_ms=3.9), {}, "p99 4.00 ms > 3.90"),
        (Contract(p99_ms=3.9), {"p99_ms": None}, None),
        (Contract(max_memory_mb=99), {}, "memory 100.00 MB > 99.00"),
    ],
)
def test_breaches_names_the_broken_term(contract, changes, clause):
    assert breaches(contract, {**KEPT, **changes}, float_escapes=2) == ([clause] if clause else [])


def test_breaches_names_every_broken_term():
    found = breaches(Contract(), {**KEPT, "drop_pp": 1.0, "flips": 30, "escapes": 9}, float_escapes=0)
    assert [clause.split()[0] for clause in found] == ["accuracy", "flips", "escapes"]


@pytest.mark.parametrize("name", ["max_drop_pp", "max_flips_pct", "max_escapes", "p99_ms"])
def test_contract_refuses_negative_bounds(name):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be 0 or above; got -1"):
        Contract(**{name: -1})
