from __future__ import annotations

import pytest

from edgetl.errors import DataError, QuantizeError
from edgetl.quantize import vendor


@pytest.mark.parametrize("error", [*vendor.ORT_ERRORS, ValueError, AssertionError], ids=lambda error: error.__name__)
def test_translated_turns_a_librarys_exception_into_one_sentence(error):
    with (
        pytest.raises(QuantizeError, match="the model for x must be one it can quantize; got two words"),
        vendor.translated("x"),
    ):
        raise error("two\n  words")


def test_translated_leaves_our_own_errors_alone():
    with pytest.raises(DataError), vendor.translated("x"):
        raise DataError("a", "b", "c", fix="d")
