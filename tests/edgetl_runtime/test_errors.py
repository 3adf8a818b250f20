from __future__ import annotations

import builtins
import inspect

import pytest

from edgetl_runtime import errors
from edgetl_runtime.errors import EdgetlError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, EdgetlError)]
EXIT_CODES = {"UsageError": 2, "ContractError": 3, "UnfitError": 4}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_one_sentence_and_a_fix(cls):
    error = cls("--seed", "an integer", "'abc'", fix="--seed 7")
    assert str(error) == "--seed must be an integer; got 'abc'.\nTry: --seed 7"
    assert error.to_mapping() == {
        "type": cls.__name__,
        "message": "--seed must be an integer; got 'abc'.",
        "try": "--seed 7",
    }


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_its_exit_code_and_stands_in_the_drawn_tree(cls):
    assert cls.exit_code == EXIT_CODES.get(cls.__name__, 1)
    assert cls.__name__ in errors.__doc__


def test_errors_are_also_the_builtins_callers_expect():
    for cls in CLASSES:
        line = next(words for words in errors.__doc__.splitlines() if cls.__name__ in words)
        if "(" in line:
            assert issubclass(cls, getattr(builtins, line.split("(")[1].split(")")[0]))


def test_error_escapes_what_a_terminal_would_obey():
    error = EdgetlError("image \x1b[31m\n\udcfc", "an image", "ünïcødé 缺陷", fix="x")
    assert error.sentence == r"image \x1b[31m\n\udcfc must be an image; got ünïcødé 缺陷."
    assert str(error).encode()
