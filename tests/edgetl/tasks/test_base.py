from __future__ import annotations

from edgetl.tasks.base import plural


def test_plural_counts() -> None:
    assert [plural(n, "pair") for n in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]
