"""Records as `edgetl bench` writes them, with latencies and accuracies to choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench.record import BundleFacts, ImageFacts, Record, Round, summarise

if TYPE_CHECKING:
    from collections.abc import Callable


def build(p50_ms: float, *, day: int = 1, accuracy: float | None = None, name: str = "part.edgetl") -> Record:
    rounds = tuple(
        Round(
            side="A",
            index=i,
            steady=True,
            decision_ms=tuple(p50_ms * (1 + (j - 30) / 1000) for j in range(61)),
            network_ms=tuple(p50_ms * (1 + (j - 30) / 1000) / 2 for j in range(61)),
            start_ms=300.0,
            memory_mb=90.0,
        )
        for i in range(5)
    )
    rated = None
    if accuracy is not None:
        rated = {
            "accuracy": accuracy,
            "n": 100,
            "escapes": 1,
            "overkill": 2,
            "n_good": 60,
            "n_defect": 40,
            "unsure": 0,
        }
    return Record(
        created=f"2026-01-{day:02}T00:00:00+00:00",
        bundle=BundleFacts(
            name=name,
            file_sha256="a" * 64,
            manifest_sha256="b" * 64,
            size_bytes=9,
            line="part",
            classes=("bad", "ok"),
            task="inspection",
            labels={"classes": ["bad", "ok"], "defect_classes": ["bad"]},
            variant="v",
            backend="null",
            precision="f32",
            threads=1,
            chosen=True,
        ),
        images=ImageFacts(n=16, sha256="c" * 64, source="bundle"),
        environment={"fingerprint": "d" * 64, "cpu": "A processor", "cores": 2, "kernel": "6"},
        protocol={"rate_hz": None, "floor": None},
        summary=summarise(rounds),
        accuracy=rated,
        rounds=rounds,
    )


@pytest.fixture(scope="session")
def make() -> Callable[..., Record]:
    return build
