"""Options in the words of Python; whole commands are left alone."""

from __future__ import annotations

import pathlib

import pytest

from edgetl.api.calls import as_keyword, calling, options_of
from edgetl.config import FinetuneConfig
from edgetl.deploy.contract import UnmetContractError
from edgetl_runtime.errors import EdgetlError


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("--p99-ms", "p99_ms"),
        ("--max-escape-rate 0.01", "max_escape_rate=0.01"),
        ("drop --resume, or check d", "drop resume=True, or check d"),
        ("--key NAME.key, or --allow-unsigned", "key NAME.key, or allow_unsigned=True"),
        ("--max-escapes-of hole", "max_escapes_of hole"),
        ("a--b", "a--b"),
        ("edgetl finetune DATA --out RUN", "edgetl finetune DATA --out RUN"),
        ("the options: seed", "seed"),
        ("the options of --task sorting: --error-cost", "error_cost"),
    ],
)
def test_words_of_a_command_line_become_keywords(words, found):
    assert as_keyword(words) == found


def test_an_error_keeps_its_class_and_what_it_carries():
    with pytest.raises(UnmetContractError) as caught, calling("edgetl.deploy"):
        raise UnmetContractError("--p99-ms", "kept", "9", fix="--p99-ms 9", candidates=[], confirmed={"n": 1})
    assert str(caught.value) == "p99_ms must be kept; got 9.\nTry: p99_ms=9"
    assert caught.value.confirmed == {"n": 1}


def test_after_an_error_the_next_call_is_free():
    for _ in range(2):
        with pytest.raises(EdgetlError, match="a must be b"), calling("edgetl.bench"):
            raise EdgetlError("a", "b", "c", fix="d")


def test_paths_and_single_words_are_taken_as_python_users_write_them():
    given = {"data": pathlib.Path("parts"), "no_augment": "noise", "other": 1, "roi_px": None}
    found = options_of(FinetuneConfig, given)
    assert found == {"data": "parts", "no_augment": ("noise",), "roi_px": None}
