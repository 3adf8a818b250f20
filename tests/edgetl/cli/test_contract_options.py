"""The contract's options: every term of the contract has one, and they win over the file."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from edgetl.api.contracts import contract_words, terms_of_tasks
from edgetl.cli.contract_options import add_contract_options, read_contract
from edgetl.deploy.contract import Judge
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import UsageError
from edgetl_runtime.tasks import inspection


@pytest.fixture
def read(tmp_path):
    parser = argparse.ArgumentParser()
    add_contract_options(parser)

    def given(*words, contract="", config=""):
        files = {}
        for name, text in (("contract", contract), ("config", config)):
            files[name] = tmp_path / f"{name}.toml"
            files[name].write_text(text)
        options = ["--contract", str(files["contract"])] if contract else []
        return read_contract(parser.parse_args([*words, *options]), config=files["config"] if config else None)

    return given


def test_every_term_of_the_contract_has_an_option(read):
    names = [name for name in Contract.__dataclass_fields__ if name != "of_task"]
    words = [word for name in names for word in ("--" + name.replace("_", "-"), "3")]
    contract = read(*words)
    assert [getattr(contract, name) for name in names] == [3] * len(names)
    for one in terms_of_tasks():
        value = "ok:crack=3" if dict(one.keywords).get("nargs") else "3"
        assert set(read(one.name, value).of_task) == {one.field}


def test_nothing_given_is_the_default(read):
    assert read() == Contract()


def test_options_win_over_the_file_class_by_class(read):
    file = "[contract]\nmax_escapes = 5\nmax_escapes_of = { crack = 2, dent = 3 }"
    found = read("--max-escapes-of", "crack=0", "a=b=1", "--max-overkill-of", "ok=4", contract=file)
    assert found.of_task == {
        "max_escapes": 5,
        "max_escapes_of": {"crack": 0, "dent": 3, "a=b": 1},
        "max_overkill_of": {"ok": 4},
    }


def test_the_file_says_single_classes_as_the_option_does(read):
    file = "[contract]\nmax_escapes_of = { crack = 0, dent = 1 }\n[contract.max_overkill_of]\nok = 4"
    found = read("--max-escapes-of", "dent=2", contract=file).of_task
    assert found == {"max_escapes_of": {"crack": 0, "dent": 2}, "max_overkill_of": {"ok": 4}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_escapes_of = 0", "max_escapes_of must be"),
        ("max_escapes_of = { crack = 'none' }", "crack must be of type int"),
        ("max_confused = { 'crack:ok' = 0 }", "key 'max_confused'"),
        ("max_escapes = -1", "--max-escapes must be 0 or above"),
    ],
)
def test_what_is_wrong_with_a_term_of_a_task_is_said_where_the_task_is_known(read, text, words):
    labels = inspection.Labels(classes=("crack", "ok"), defect_classes=("crack",))
    with pytest.raises(UsageError) as caught:
        Judge.of(read(contract=f"[contract]\n{text}"), task="inspection", labels=labels)
    assert words in str(caught.value)


def test_the_example_file_is_a_contract(read):
    found = read(contract=(Path(__file__).parents[3] / "examples" / "contract.toml").read_text())
    assert (found.p99_ms, found.of_task) == (
        8,
        {"max_escapes": 2, "max_escapes_of": {"crack": 0}, "max_overkill_of": {"ok": 5}},
    )


def test_contract_file_replaces_the_table_of_the_configuration(read):
    config = "[contract]\nmax_escapes = 1\nmax_overkill = 9"
    assert read(config=config) == Contract(max_escapes=1, max_overkill=9)
    assert read(config=config, contract="[contract]\nmax_escapes = 2") == Contract(max_escapes=2)


def test_options_of_a_contract_are_read_back_as_that_contract():
    contract = Contract(
        max_drop_pp=1.5,
        max_escapes=0,
        p99_ms=8.0,
        max_escapes_of={"deep crack": 1},
    )
    words = contract_words(contract)
    assert words[:2] == ["--max-drop-pp", "1.5"]
    parser = argparse.ArgumentParser()
    add_contract_options(parser)
    assert read_contract(parser.parse_args(words), config=None) == contract
    assert contract_words(Contract()) == []


def test_an_option_given_twice_counts_twice_and_one_name_once(read):
    found = read("--max-confused", "a:b=0", "--max-confused", "b:a=0", "c:a=1")
    assert found.of_task == {"max_confused": {"a:b": 0, "b:a": 0, "c:a": 1}}
    for words in (["a:b=0", "a:b=9"], ["a:b=--3"], ["a:b=1e3"]):
        with pytest.raises(UsageError):
            read("--max-confused", *words)


def test_terms_below_of_task_and_beside_it_are_one_contract(read):
    found = read(contract="[contract]\nmax_unsure_pct = 5\nof_task = { max_errors = 0 }")
    assert found.of_task == {"max_errors": 0, "max_unsure_pct": 5}
    with pytest.raises(UsageError, match="a table of terms"):
        read(contract="[contract]\nof_task = 5")


def test_words_of_a_contract_loosen_nothing():
    assert contract_words(Contract(p99_ms=9999.99999)) == ["--p99-ms", "9999.99999"]


@pytest.mark.parametrize("wrong", [{"max_drop_pp": None}, {"max_flips_pct": None}, {"p99_ms": 10**400}, {"of_task": 5}])
def test_a_contract_that_means_nothing_is_refused_at_once(wrong):
    with pytest.raises(UsageError):
        Contract(**wrong)


def test_a_contract_is_not_changed_by_what_it_was_made_of():
    pairs = {"a:b": 0}
    contract = Contract(max_confused=pairs)
    pairs["a:b"] = 99
    assert contract.of_task == {"max_confused": {"a:b": 0}}


def test_a_term_that_nobody_knows_is_told_from_all_that_are_known():
    labels = inspection.Labels(classes=("crack", "ok"), defect_classes=("crack",))
    with pytest.raises(UsageError) as caught:
        Judge.of(Contract(p99ms=20), task="inspection", labels=labels)
    assert "'p99_ms'" in caught.value.fix
