from __future__ import annotations

import builtins
import inspect

import pytest

from edgetl import errors
from edgetl_runtime.errors import EdgetlError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_host_error_stands_in_the_drawn_tree_below_the_runtimes_root(cls):
    assert issubclass(cls, EdgetlError)
    line = next(words for words in errors.__doc__.splitlines() if cls.__name__ in words)
    assert f"exit {cls.exit_code} " in line
    if "(" in line:
        assert issubclass(cls, getattr(builtins, line.split("(")[1].split(")")[0]))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_host_error_is_one_sentence_and_a_fix(cls):
    error = cls("the data", "complete", "half of it", fix="copy them again")
    assert str(error) == "the data must be complete; got half of it.\nTry: copy them again"
