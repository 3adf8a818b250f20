"""The contract's options: every term of the contract has one, and they win over the file."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from edgetl.api.contracts import PER_CLASS, contract_words
from edgetl.cli.contract_options import add_contract_options, read_contract
from edgetl.deploy.contract import ClassBounds
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import UsageError


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
    names = [name for name in Contract.__dataclass_fields__ if name != "per_class"]
    words = [word for name in names for word in ("--" + name.replace("_", "-"), "3")]
    contract = read(*words)
    assert [getattr(contract, name) for name in names] == [3] * len(names)
    assert set(PER_CLASS.values()) == set(ClassBounds.__dataclass_fields__)


def test_nothing_given_is_the_default(read):
    assert read() == Contract()


def test_options_win_over_the_file_class_by_class(read):
    per_class = "[contract.per_class.crack]\nmax_escapes = 2\n[contract.per_class.dent]\nmax_escapes = 3"
    file = f"[contract]\nmax_escapes = 5\n{per_class}"
    found = read("--max-escapes-of", "crack=0", "a=b=1", "--max-overkill-of", "ok=4", contract=file)
    assert found.max_escapes == 5
    assert found.per_class == {
        "crack": ClassBounds(max_escapes=0),
        "dent": ClassBounds(max_escapes=3),
        "a=b": ClassBounds(max_escapes=1),
        "ok": ClassBounds(max_overkill=4),
    }


def test_the_file_says_single_classes_as_the_option_does(read):
    assert set(PER_CLASS) == {"max_escapes_of", "max_overkill_of"}
    file = "[contract]\nmax_escapes_of = { crack = 0, dent = 1 }\n[contract.max_overkill_of]\nok = 4"
    found = read("--max-escapes-of", "dent=2", contract=file).per_class
    assert found == {
        "crack": ClassBounds(max_escapes=0),
        "dent": ClassBounds(max_escapes=2),
        "ok": ClassBounds(max_overkill=4),
    }
    with pytest.raises(UsageError, match="a table of classes"):
        read(contract="[contract]\nmax_escapes_of = 0")
    with pytest.raises(UsageError, match="max_escapes"):
        read(contract="[contract]\nmax_escapes_of = { crack = 'none' }")


def test_the_example_file_is_a_contract(read):
    found = read(contract=(Path(__file__).parents[3] / "examples" / "contract.toml").read_text())
    assert (found.p99_ms, found.per_class) == (
        8,
        {"crack": ClassBounds(max_escapes=0), "ok": ClassBounds(max_overkill=5)},
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
        per_class={"deep crack": ClassBounds(max_escapes=1, max_overkill=None)},
    )
    words = contract_words(contract)
    assert words[:2] == ["--max-drop-pp", "1.5"]
    parser = argparse.ArgumentParser()
    add_contract_options(parser)
    assert read_contract(parser.parse_args(words), config=None) == contract
    assert contract_words(Contract()) == []
