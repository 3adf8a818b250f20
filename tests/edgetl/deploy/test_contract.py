"""The contract: each term breaks alone, at its bound and not before."""

from __future__ import annotations

import pytest

from edgetl.deploy.contract import Judge, UnmetContractError, too_large
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import ContractError, UsageError
from edgetl_runtime.schema import from_mapping, to_mapping
from edgetl_runtime.tasks import inspection, sorting

KEPT = {
    "drop_pp": 0.0, "flips": 0, "n": 1000, "escapes": 2, "overkill": 5, "p50_ms": 2.0, "p99_ms": 4.0,
    "memory_mb": 100.0, "size_mb": 3.5, "escapes_per_class": {"crack": 2, "dent": 0}, "overkill_per_class": {"ok": 5},
}  # fmt: skip


LABELS = inspection.Labels(classes=("crack", "dent", "ok"), defect_classes=("crack", "dent"))
SORTED = sorting.Labels(classes=("m3", "m4", "m5"))


def judge(contract):
    return Judge.of(contract, task="inspection", labels=LABELS)


def judge_of_sorting(**terms):
    return Judge.of(Contract(**terms), task="sorting", labels=SORTED)


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
        (Contract(max_escapes_of={"crack": 2}), {}, None),
        (Contract(max_escapes_of={"crack": 1}), {}, "escapes of crack 2 > 1"),
        (Contract(max_escapes_of={"dent": 0}), {}, None),
        (Contract(max_overkill_of={"ok": 4}), {}, "overkill of ok 5 > 4"),
    ],
)
def test_breaches_names_the_broken_term(contract, changes, clause):
    assert judge(contract).breaches({**KEPT, **changes}, {"escapes": 2}) == ([clause] if clause else [])


def test_breaches_names_every_broken_term():
    found = judge(Contract()).breaches({**KEPT, "drop_pp": 1.0, "flips": 30, "escapes": 9}, {"escapes": 0})
    assert [clause.split()[0] for clause in found] == ["accuracy", "flips", "escapes"]


@pytest.mark.parametrize("name", [n for n in Contract.__dataclass_fields__ if n != "of_task"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_contract_refuses_what_is_no_bound(name, value):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be 0 or above; got {value}"):
        Contract(**{name: value})


def test_contract_refuses_a_negative_bound_of_a_class():
    with pytest.raises(UsageError, match="--max-escapes-of crack must be 0 or above; got -2"):
        judge(Contract(max_escapes_of={"crack": -2}))


@pytest.mark.parametrize("name", ["max_escapes", "max_overkill"])
def test_judge_refuses_what_is_no_bound_of_the_task(name):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be 0 or above; got -1"):
        judge(Contract(**{name: -1}))
    with pytest.raises(UsageError, match=name):
        judge(Contract(**{name: float("nan")}))


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (
            Contract(max_escapes_of={"crakc": 0}),
            r"a class of the contract must be one of the run's; got 'crakc'\.\nTry: 'crack'",
        ),
        (Contract(max_escapes_of={"ok": 0}), "--max-escapes-of ok=… must be on a defect class; got good parts"),
        (Contract(max_overkill_of={"crack": 0}), "--max-overkill-of crack=… must be on good parts; got a defect class"),
    ],
)
def test_bounds_on_classes_must_be_able_to_break(contract, words):
    with pytest.raises(UsageError, match=words):
        judge(contract)
    judge(Contract(max_escapes_of={"crack": 0}))


def test_contract_survives_the_way_through_a_file():
    contract = Contract(p50_ms=2.0, max_escapes_of={"crack": 0})
    assert from_mapping(Contract, to_mapping(contract), where="here") == contract
    assert judge(contract).bounds.max_escapes_of == {"crack": 0}
    with pytest.raises(
        UsageError, match="key 'max_escape' in the contract of a run for inspection must be a known key"
    ):
        judge(from_mapping(Contract, {"of_task": {"max_escape": 0}}, where="here"))


def test_too_large_knows_the_file():
    assert too_large(Contract(max_size_mb=3), size_bytes=3_000_000) == ()
    assert too_large(Contract(max_size_mb=3), size_bytes=3_100_000) == ("model file 3.10 MB > 3.00",)
    assert too_large(Contract(), size_bytes=10**12) == ()


def test_unmet_contract_shows_the_nearest_candidate_first():
    near = {"id": "near", "why": "a", "broken": 1, "drop_pp": 0.6, "flips": 3}
    far = {"id": "far", "why": "a; b", "broken": 2, "drop_pp": 0.1}
    error = UnmetContractError("x", "y", "z", fix="f", candidates=[{**far, "flips": 0}, near])
    assert isinstance(error, ContractError)
    said = error.to_mapping()
    assert (said["type"], said["message"], error.exit_code) == ("ContractError", "x must be y; got z.", 3)
    assert [c["id"] for c in said["candidates"]] == ["near", "far"]


def test_close_calls_counts_the_flips_to_be_expected_where_they_are_more():
    figures = {"drop_pp": 0.0, "flips": 1, "n": 300, "escapes": 0, "overkill": 0}
    assert judge(Contract(max_flips_pct=2.0)).close_calls(figures, {"escapes": 0}) == []
    figures["likely_flips"] = 5.0
    assert judge(Contract(max_flips_pct=2.0)).close_calls(figures, {"escapes": 0}) == ["flips 2.41 % > 2.00"]


@pytest.mark.parametrize(
    ("term", "name", "fix"),
    [
        ("max_escapes_of", "oks", "one of crack, dent"),
        ("max_escapes_of", "cracks", "'crack' instead of 'cracks'"),
        ("max_overkill_of", "cracks", "one of ok"),
    ],
)
def test_a_misspelt_class_is_never_taken_for_one_of_the_other_kind(term, name, fix):
    with pytest.raises(UsageError, match="a class of the contract must be one of the run's") as caught:
        judge(Contract(**{term: {name: 0}}))
    assert caught.value.fix == fix


SORTED_COUNTS = {"drop_pp": 0.0, "flips": 0, "n": 100, "errors": 2, "unsure": 6, "confused": {"m3:m4": 2}}


@pytest.mark.parametrize(
    ("terms", "clause"),
    [
        ({}, None),
        ({"max_errors": 1}, "errors 2 > 1"),
        ({"max_unsure_pct": 5.0}, "unsure 6.00 % > 5.00"),
        ({"max_unsure_pct": 6}, None),
        ({"max_confused": {"m3:m4": 1}}, "m3 sorted as m4 2 > 1"),
        ({"max_confused": {"m4:m3": 0}}, None),
    ],
)
def test_judge_holds_the_terms_of_sorting(terms, clause):
    assert judge_of_sorting(**terms).breaches(SORTED_COUNTS, {"errors": 1}) == ([clause] if clause else [])


def test_by_default_sorting_may_have_one_error_more_than_the_float_model():
    assert judge_of_sorting().breaches(SORTED_COUNTS, {"errors": 0}) == ["errors 2 > 1"]
    close = {**SORTED_COUNTS, "flips": 1, "likely_flips": 5.0}
    assert judge_of_sorting().close_calls(close, {"errors": 2}) == ["flips 7.24 % > 2.00"]


@pytest.mark.parametrize(
    ("task", "labels", "term", "fix"),
    [
        ("sorting", SORTED, "max_error", "'max_errors' instead of 'max_error'"),
        ("sorting", SORTED, "max_unsure", "'max_unsure_pct' or 'max_confused' instead of 'max_unsure'"),
        ("inspection", LABELS, "max_overkil", "'max_overkill' or 'max_overkill_of' instead of 'max_overkil'"),
    ],
)
def test_an_unknown_term_names_the_nearest_of_the_task(task, labels, term, fix):
    with pytest.raises(UsageError, match=f"key '{term}' in the contract of a run for {task} must be a known") as caught:
        Judge.of(Contract(**{term: 1}), task=task, labels=labels)
    assert caught.value.fix == fix


@pytest.mark.parametrize(
    ("task", "labels", "terms"),
    [
        ("sorting", SORTED, {"max_escapes": 0}),
        ("sorting", SORTED, {"max_escapes_of": {"m3": 0}}),
        ("inspection", LABELS, {"max_errors": 0}),
        ("inspection", LABELS, {"max_confused": {"crack:ok": 0}}),
    ],
)
def test_a_term_of_another_task_is_refused(task, labels, terms):
    (term,) = terms
    with pytest.raises(UsageError, match=f"key '{term}' in the contract of a run for {task} must be a known key"):
        Judge.of(Contract(**terms), task=task, labels=labels)


def test_judge_of_sorting_refuses_a_pair_that_is_none_and_a_bound_that_is_none():
    with pytest.raises(UsageError, match="two different classes of m3, m4, m5; got 'm3:m6'"):
        judge_of_sorting(max_confused={"m3:m6": 0})
    with pytest.raises(UsageError, match="--max-unsure-pct must be 0 or above; got -1"):
        judge_of_sorting(max_unsure_pct=-1)


def test_judge_refuses_a_task_that_there_is_not():
    with pytest.raises(UsageError, match="the task must be known; got 'sortin'") as caught:
        Judge.of(Contract(), task="sortin", labels=SORTED)
    assert "sorting" in caught.value.fix
