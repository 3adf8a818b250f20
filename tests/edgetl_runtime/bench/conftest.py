"""The measuring loop collects garbage before every round; the heap of the whole suite is kept out of it."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench.record import BundleFacts, ImageFacts, Record, Round, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _small_heap() -> Iterator[None]:
    gc.freeze()
    yield
    gc.unfreeze()


def rounds(count: int = 6, n: int = 60) -> tuple[Round, ...]:
    return tuple(
        Round(
            side="A",
            index=i,
            steady=i > 0,
            decision_ms=tuple(5 + i / 10 + j / 1000 for j in range(n)),
            start_ms=300.0 + i,
            memory_mb=80.0 + i,
        )
        for i in range(count)
    )


@pytest.fixture
def record() -> Record:
    measured = rounds()
    return Record(
        created="2026-01-01T00:00:00+00:00",
        bundle=BundleFacts(
            name="part.edgetl",
            file_sha256="a" * 64, manifest_sha256="b" * 64, size_bytes=9, line="part", classes=("bad", "ok"),
            task="inspection",
            labels={"classes": ["bad", "ok"], "defect_classes": ["bad"]},
            variant="v", backend="null", precision="f32", threads=1, chosen=True,
        ),
        images=ImageFacts(n=16, sha256="c" * 64, source="bundle"),
        environment={"fingerprint": "d" * 64},
        protocol={"rounds": 6},
        summary=summarise(measured),
        accuracy=None,
        rounds=measured,
    )  # fmt: skip
