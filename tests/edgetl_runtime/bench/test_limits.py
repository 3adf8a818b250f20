"""Limits hold the exact artifact to figures, and a figure that is missing is not a kept limit."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.bench import limits
from edgetl_runtime.bench.limits import Limits
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from edgetl_runtime.bench.record import Record


def with_accuracy(record: Record, labels: str, verdicts: str, **figures: Any) -> Record:
    accuracy = {"n": len(labels), "labels": list(labels), "verdicts": list(verdicts), **figures}
    return dataclasses.replace(record, accuracy=accuracy)


@pytest.mark.parametrize(
    ("given", "broken", "unknown"),
    [
        ({}, (), ()),
        ({"p50_ms": 6.0, "p99_ms": 7.0}, (), ()),
        ({"p50_ms": 5.0}, ("p50 ms is 5.279, above 5",), ()),
        ({"max_memory_mb": 80.0, "max_start_ms": 400.0}, ("memory mb is 85, above 80",), ()),
        ({"max_late_pct": 1.0}, (), ("late pct is not known: not an open loop (--rate)",)),
        ({"max_escapes": 0}, (), ("escapes is not known: no labelled images (--data)",)),
        ({"max_flips_pct": 1.0}, (), ("flips pct is not known: no images that both decided on",)),
    ],
)
def test_judge(record: Record, given: dict[str, float], broken: tuple[str, ...], unknown: tuple[str, ...]) -> None:
    assert limits.judge(Limits(**given), record) == (broken, unknown)


def test_p99_of_too_few_samples_is_not_known(record: Record) -> None:
    from edgetl_runtime.bench.record import summarise

    few = dataclasses.replace(record, summary=summarise(record.rounds[:2]))
    assert limits.judge(Limits(p99_ms=99), few)[1] == ("p99 ms is not known: 120 samples are too few, it needs 299",)


def test_the_bundles_contract_holds_for_its_chosen_variant_only(record: Record) -> None:
    bundle = dataclasses.replace(record.bundle, limits={"p99_ms": 3.0})
    chosen = dataclasses.replace(record, bundle=bundle)
    assert limits.of(chosen, None).p99_ms == 3.0
    assert limits.of(chosen, Limits(p99_ms=9.0)).p99_ms == 9.0
    other = dataclasses.replace(record, bundle=dataclasses.replace(bundle, chosen=False))
    assert limits.of(other, None).p99_ms is None


def test_flips_and_drop_of_two_records(record: Record) -> None:
    a = with_accuracy(record, "xyxy", "NONO", accuracy=1.0, escapes=0, overkill=0)
    b = with_accuracy(record, "xyyy", "NOON", accuracy=0.75, escapes=1, overkill=1)
    found = limits.decisions_compared(a, b)
    assert found == {
        "n": 4, "accuracy": [1.0, 0.75], "drop_pp": 25.0, "escapes": [0, 1], "overkill": [0, 1], "flips": 2,
        "flips_pct": 50.0,
    }  # fmt: skip
    broken, _ = limits.judge(Limits(max_drop_pp=1, max_flips_pct=60, max_escapes=0), b, found)
    assert broken == ("escapes is 1, above 0", "drop pp is 25, above 1")


def test_flips_need_the_same_images(record: Record) -> None:
    a = with_accuracy(record, "x", "N", accuracy=1.0, escapes=0, overkill=0)
    b = dataclasses.replace(a, images=dataclasses.replace(a.images, sha256="e" * 64))
    assert limits.decisions_compared(a, b) is None
    assert limits.decisions_compared(record, a) is None


def test_limits_refuse_negative_numbers() -> None:
    with pytest.raises(UsageError, match="--p99-ms must be 0 or above; got -1"):
        Limits(p99_ms=-1)
