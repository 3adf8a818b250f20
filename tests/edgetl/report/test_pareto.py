"""The picture of a choice: every candidate named, what was not timed said, the front drawn through the right points."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np

from edgetl.report.deployments import deployment_from_json
from edgetl.report.pareto import Mark, accuracy_latency, pareto_picture, svg_bytes


def texts(picture: str) -> list[str]:
    return ["".join(e.itertext()) for e in ET.fromstring(svg_bytes(picture)).iter() if e.tag.endswith("}text")]


def mark(label: str, p99_ms: float, accuracy: float, **changes: bool) -> Mark:
    fields = {"accepted": True, "chosen": False, **changes}
    return Mark(label=label, accuracy=accuracy, p50_ms=0.8 * p99_ms, p99_ms=p99_ms, **fields)


def test_deployment_shows_what_was_not_measured(deployment_json: dict) -> None:
    measured = texts(accuracy_latency(deployment_from_json(deployment_json)))
    assert "openvino-int8-t1 (chosen)" in measured
    assert "p50 from encoded image to decision, ms (thin bar: to p99; 1 not measured)" in measured
    for candidate in deployment_json["candidates"]:
        candidate["latency_ms"] = None
    untimed = texts(accuracy_latency(deployment_from_json(deployment_json)))
    assert "accuracy on validation, % (latency not measured on hardware)" in untimed
    assert [t for t in untimed if t.endswith(" %")] == ["90.00 %", "98.00 %", "97.50 %"]


def test_bound_of_the_contract_is_drawn(deployment_json: dict) -> None:
    assert "p99 of the contract" not in texts(accuracy_latency(deployment_from_json(deployment_json)))
    bound = deployment_from_json({**deployment_json, "contract": {"p99_ms": 7.0}})
    assert "p99 of the contract" in texts(accuracy_latency(bound))


def test_few_points_are_all_named_and_of_many_those_of_the_front() -> None:
    few = [mark("a", 2, 0.9), mark("b", 3, 0.95, chosen=True), mark("c", 4, 0.8, accepted=False)]
    shown = texts(pareto_picture(few))
    assert {"a", "b (chosen)", "c (rejected)"} <= set(shown)
    rng = np.random.default_rng(0)
    many = [mark(f"x{i}", 5 + rng.random(), 0.5 + 0.1 * rng.random()) for i in range(20)]
    shown = texts(pareto_picture([*few, *many]))
    assert {"a", "b (chosen)"} <= set(shown)
    assert not {"c (rejected)", *(m.label for m in many)} & set(shown)


def test_names_of_one_place_do_not_lie_upon_each_other() -> None:
    picture = pareto_picture([mark(name, 3.0, 0.9) for name in "abc"])
    at = {}
    for element in ET.fromstring(svg_bytes(picture)).iter():
        if element.tag.endswith("}text") and "".join(element.itertext()) in "abc":
            at["".join(element.itertext())] = element.get("y") or element.get("transform")
    assert len(set(at.values())) == 3
