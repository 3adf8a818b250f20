"""Words and Markdown hold the figures, dashes where n was too small, and no markup from names."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench import text
from edgetl_runtime.bench.measuring import Comparison, Tail
from edgetl_runtime.bench.statistics import Design, Judgement

if TYPE_CHECKING:
    from edgetl_runtime.bench.record import Record


@pytest.fixture
def record(record: Record) -> Record:
    return dataclasses.replace(record, environment={"cpu": "A processor", "cores": 2, "fingerprint": "f"})


@pytest.fixture
def comparison(record: Record) -> Comparison:
    judgement = Judgement(verdict="REGRESSED", n=10, estimate=0.081, lower=0.05, upper=0.1, p_slower=0.001)
    new = dataclasses.replace(record, bundle=dataclasses.replace(record.bundle, name="new|<b>.edgetl"))
    return Comparison(
        verdict="REGRESSED",
        metrics={"decision": judgement},
        how="interleaved",
        a=record,
        b=new,
        breaches=("p99 ms is 9, above 8",),
        tail=Tail(p99_ms=(5.5, 6.6), ratio=1.2, above_margin=True),
        decisions={
            "n": 16, "accuracy": [1.0, 0.9375], "escapes": [0, 1], "overkill": [0, 0], "flips": 1, "drop_pp": 6.25,
        },
        design=Design(),
        notes=("a note",),
    )  # fmt: skip


def test_record_text_shows_percentiles_and_intervals(record: Record) -> None:
    lines = text.record_text(record).splitlines()
    assert lines[0] == "part.edgetl: v (null f32), 0.0 MB"
    figures = lines[2].split()
    assert figures[:8] == ["image", "to", "decision", "5.279", "5.523", "5.556", "-", "5.559"]
    assert figures[8] == "360"
    assert "start to first decision 302 ms" in lines[3]
    assert "resolution not known (edgetl compare A.edgetl --aa)" in lines[4]


def test_record_text_says_what_makes_it_special(record: Record) -> None:
    summary = {**record.summary, "late": 7}
    accuracy = {"accuracy": 0.75, "n": 8, "escapes": 1, "n_defect": 4, "overkill": 0, "n_good": 4, "unsure": 2}
    special = dataclasses.replace(
        record, summary=summary, accuracy=accuracy, verdict="disturbed",
        protocol={"rate_hz": 12.5, "neighbours": 2, "floor": 0.013},
    )  # fmt: skip
    found = text.record_text(special)
    assert "resolution 1.3% (a bundle against itself)" in found
    assert "open loop at 12.5 parts a second, from the intended arrival: 7 of 360 decisions were late" in found
    assert "beside 2 neighbours" in found
    assert "accuracy 0.7500 on 8 images, escapes 1 of 4 defects" in found
    assert found.splitlines()[-1].startswith("DISTURBED")


def test_comparison_text_starts_with_the_verdict(comparison: Comparison) -> None:
    lines = text.comparison_text(comparison).splitlines()
    assert lines[0].startswith("REGRESSED: new|<b>.edgetl against part.edgetl, 10 interleaved pairs")
    assert lines[1] == "image to decision: 5.279 → 5.279 ms, +8.1% (between +5.0% and +10.0%)"
    assert "limit broken: p99 ms is 9, above 8" in lines
    assert "p99 5.500 → 6.600 ms, x1.20 (advisory); look at it" in lines
    assert any("1 decisions flipped" in line for line in lines)
    assert lines[-1] == "a note"


def test_markdown_is_a_table_and_escapes_names(comparison: Comparison) -> None:
    found = text.comparison_markdown(comparison)
    assert found.startswith("### ❌ REGRESSED: new\\|\\<b\\>.edgetl against part.edgetl\n")
    rows = [line for line in found.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1
    assert "| accuracy | 1.0000 | 0.9375 | 1 of 16 flipped |" in rows
    assert "- limit broken: p99 ms is 9, above 8" in found
    assert "- a note" in found


def test_record_markdown_holds_the_table_and_the_machine(record: Record) -> None:
    lines = text.record_markdown(record).splitlines()
    assert lines[0] == "### part.edgetl: v"
    assert lines[4] == "| image to decision | 5.279 | 5.523 | 5.556 | - | 5.559 | 360 |"
    assert lines[-1].startswith("- A processor, 2 cores, 2026-01-01")
