"""The report of a search: the choice, the picture, and every candidate and network with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgetl.report.search_report import write_search_report
from edgetl.search.choice import point_of, reason, settle
from edgetl.search.grid import SearchConfig
from edgetl_runtime.contract import Contract
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from pathlib import Path

FIGURES = (("lite0-224", "int8", 4.1, 0.962), ("lite0-224", "f32", 7.9, 0.968), ("v2-160", "bf16", 2.6, 0.951),
           ("v2-160", "int8", 2.2, 0.913), ("v2-224", "int8", 4.4, 0.957))  # fmt: skip


@pytest.fixture
def result() -> dict[str, Any]:
    contract = Contract(p99_ms=6, max_escapes_of={"<crack>": 1})
    points = []
    for network, precision, p99, accuracy in FIGURES:
        candidate = {
            "id": f"openvino-{precision}", "backend": "openvino", "precision": precision, "threads": 1,
            "accuracy": accuracy, "drop_pp": 0.1, "flips": 2, "escapes": 1, "overkill": 3, "n": 300,
            "size_bytes": 3_600_000, "why": "",
        }  # fmt: skip
        figures = {"p50": 0.9 * p99, "p99": p99}
        latency = {"decision_ms": figures, "n": 300, "measured_on": "Fast CPU", "turns_ms": [0.9 * p99] * 30}
        latency["slowest_ms"] = [p99]
        points.append(
            point_of(network, candidate, latency=latency, best_accuracy=0.968, counts=("escapes", "overkill"))
        )
    judged = settle(points, contract, max_gap_pp=2.0, target="local")
    found = judged.points
    known = {"backbone": "tf_efficientnet_lite0", "image_px": 224, "run": "r", "screen": None, "slice": None}
    networks = [{"name": "lite0-224", "why": "", "chosen": False, "float_accuracy": 0.968, **known}]
    slow = {"screen": {"openvino-f32": 31.5}, "float_accuracy": None, "chosen": False}
    networks.append({**known, "name": "b3-300", "why": "too slow before training", **slow})
    return {
        "target": "local", "chosen": next(p["id"] for p in found if p["chosen"]), "why": reason(judged),
        "points": found, "counts": ["escapes", "overkill"], "networks": networks, "contract": to_mapping(contract),
        "search": to_mapping(SearchConfig(image_sizes=(160, 224))), "deploy": "edgetl deploy r --precision bf16",
    }  # fmt: skip


def test_report_says_what_was_chosen_and_why_not_the_others(result: dict[str, Any], tmp_path: Path) -> None:
    html = write_search_report(tmp_path, result).read_text(encoding="utf-8")
    assert result["chosen"] == "v2-160/openvino-bf16"
    assert '<div class="words">v2-160/openvino-bf16</div>' in html
    assert "p99 7.90 ms &gt; 6.00" in html
    assert "5.50 pp below the most accurate float network &gt; 2.00" in html
    assert "too slow before training" in html
    assert "<dt>max_escapes_of</dt><dd>&lt;crack&gt; 1</dd>" in html
    assert (tmp_path / "front.svg").read_bytes().startswith(b"<?xml")
    assert html.count(">●<") == sum(p["on_front"] for p in result["points"]) == 4


def test_report_without_latencies_or_choice_says_so(result: dict[str, Any], tmp_path: Path) -> None:
    untimed = [
        p | {"p50_ms": None, "p99_ms": None, "latency": None, "why": "x", "chosen": False} for p in result["points"]
    ]
    nothing = result | {"points": untimed, "chosen": None, "why": "no candidate keeps the contract", "deploy": None}
    html = write_search_report(tmp_path, nothing).read_text(encoding="utf-8")
    assert '<div class="words">none</div>' in html
    assert "Latency of local: not measured on hardware." in html
    assert not (tmp_path / "front.svg").exists()
    write_search_report(tmp_path, nothing | {"points": []})
