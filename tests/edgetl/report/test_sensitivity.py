"""The ranking of layers: read as the ladder wrote it, drawn worst first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from edgetl.report.pareto import svg_bytes
from edgetl.report.run_report import render
from edgetl.report.sensitivity import MOST_LAYERS, read_rankings, sensitivity_picture

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, name: str = "sensitivity-0a", *, count: int = 3) -> None:
    layers = [
        {"layer": f"Conv_{i}", "nodes": [f"Conv_{i}"], "damage": 1 / (i + 1), "decisions": 0.25 if i == 0 else 0.0,
         "time_share": 0.1}
        for i in range(count)
    ]  # fmt: skip
    record = {"schema": "edgetl.sensitivity/1", "recipe": "openvino-int8", "images": 32, "layers": layers}
    (folder / f"{name}.json").write_text(json.dumps(record))


def test_picture_names_the_layers_that_hurt_most(tmp_path: Path) -> None:
    write(tmp_path, count=MOST_LAYERS + 5)
    (ranking,) = read_rankings(tmp_path)
    assert (ranking.recipe, ranking.images, ranking.layers[0]) == ("openvino-int8", 32, ("Conv_0", 1.0, 0.25, 0.1))
    svg = ET.fromstring(svg_bytes(sensitivity_picture(ranking)))
    shown = ["".join(e.itertext()) for e in svg.iter() if e.tag.endswith("}text")]
    assert [t for t in shown if t.startswith("Conv_")] == [f"Conv_{i}" for i in range(MOST_LAYERS)][::-1]
    assert "25 % of labels change" in shown


def test_damaged_and_empty_rankings_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "sensitivity-empty", count=0)
    (tmp_path / "sensitivity-cut.json").write_text('{"recipe": "x", "lay')
    (tmp_path / "sensitivity-list.json").write_text("[]")
    assert len(read_rankings(tmp_path)) == 1
    assert read_rankings(tmp_path / "none") == []


def test_report_shows_ladder_and_ranking(fake_run, deployment_json: dict) -> None:
    from edgetl.report.run_report import page

    fake = fake_run()
    steps = [
        {"rung": 0, "name": "openvino-int8", "evaluations": 1, "seconds": 9.5, "kept_float": [], "accuracy": 0.91,
         "drop_pp": 7.0, "flips": 8, "escapes": 3, "why": ["flips 13.33 % > 2.00"]},
        {"rung": 2, "name": "openvino-int8-mixed", "evaluations": 4, "seconds": 30.0, "kept_float": ["Conv_1"],
         "accuracy": 0.975, "drop_pp": 0.5, "flips": 1, "escapes": 1, "why": []},
    ]  # fmt: skip
    made_by = {"recipe": "openvino-int8-mixed", "evaluations": 5, "steps": steps}
    candidates = [{**c, "made_by": made_by if c["precision"] == "int8" else {}} for c in deployment_json["candidates"]]
    fake.deploy(candidates=candidates)
    (fake.folder.path / "quantized").mkdir()
    write(fake.folder.path / "quantized")
    html = render(page(fake.folder, fake.run))
    ladder = html[html.index("<h4>Ladder</h4>") :]
    assert (
        ladder.index("openvino-int8</td>") < ladder.index("flips 13.33 % &gt; 2.00") < ladder.index("int8-mixed</td>")
    )
    assert "Layers by the damage of quantizing them: openvino-int8" in html
