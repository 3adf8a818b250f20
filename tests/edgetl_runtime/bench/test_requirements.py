"""What a machine lacks is one clause; a backend nobody knows is a mistake, not a skip."""

from __future__ import annotations

import platform

import pytest

from edgetl_runtime.bench.requirements import lacking
from edgetl_runtime.errors import UsageError


def test_nothing_is_lacking_here() -> None:
    assert lacking(backend="null", arch=platform.machine(), cores=1, memory_mb=1) is None


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({"arch": "vax"}, "needs vax, this machine is"),
        ({"memory_mb": 10**9}, "needs 1000000000 MB"),
        ({"cpu_flag": "none_such"}, "needs the processor's none_such"),
        ({"board": "Orin"}, "needs the board Orin"),
    ],
)
def test_lacking_names_what_and_what_is_here(needs: dict[str, object], words: str) -> None:
    assert words in str(lacking(**needs))  # type: ignore[arg-type]


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UsageError, match="must be a known one; got 'onxruntime'"):
        lacking(backend="onxruntime")
