"""The report is one file that says the verdict first, and names in it cannot break it."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest

from edgetl.bench import report
from edgetl_runtime.bench.measuring import Comparison
from edgetl_runtime.bench.statistics import Design, Judgement
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgetl_runtime.bench.record import Record


def test_report_of_a_comparison_starts_with_its_verdict(make: Callable[..., Record], tmp_path: Path) -> None:
    judgement = Judgement(verdict="REGRESSED", n=10, estimate=0.1, lower=0.08, upper=0.12, p_slower=0.001)
    a, b = make(5.0), make(5.5, name="<script>new</script>.edgetl")
    found = Comparison(
        verdict="REGRESSED", metrics={"decision": judgement}, how="interleaved", a=a, b=b, design=Design(),
        differences={"decision": (0.1,) * 10},
    )  # fmt: skip
    report.write_report(tmp_path / "r.html", records=[a, b], comparison=found)
    html = (tmp_path / "r.html").read_text()
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", html)
    assert heading
    assert heading[1].startswith("REGRESSED: &lt;script&gt;")
    assert "<script>" not in html
    assert html.count("<img") == 3
    assert "http://" not in re.sub(r"base64,[\w+/=]+", "", html)
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_report_of_records_shows_front_and_history(make: Callable[..., Record], tmp_path: Path) -> None:
    records = [make(5.0 + i / 100, day=i + 1, accuracy=0.9) for i in range(3)]
    discarded = dataclasses.replace(records[0].rounds[0], disturbed=("other work took 9 % of the machine",))
    records[1] = dataclasses.replace(records[1], discarded=(discarded,))
    report.write_report(tmp_path / "r.html", records=records)
    html = (tmp_path / "r.html").read_text()
    for title in ("Distribution", "Percentiles over rounds", "Accuracy over latency", "History"):
        assert title in html
    assert "discarded: other work took 9 % of the machine" in html


def test_plots_are_written_as_svg_and_png(make: Callable[..., Record], tmp_path: Path) -> None:
    records = [make(5.0), make(6.0, day=2)]
    written = report.write_plots(tmp_path / "plots", records=records, replace=False)
    assert {p.name for p in written} == {
        f"{name}.{kind}" for name in ("distribution", "rounds", "trend-0") for kind in ("svg", "png")
    }
    with pytest.raises(UsageError, match="a new folder"):
        report.write_plots(tmp_path / "plots", records=records, replace=False)
