"""The ladder with real models: rungs are made, judged on validation, and the ranking stays in the run."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest

from edgetl.deploy import candidates as room
from edgetl.deploy.climbing import Climber
from edgetl.deploy.contract import Judge
from edgetl.deploy.plan import PlannedCandidate
from edgetl.errors import QuantizeError
from edgetl.quantize import graph, observe
from edgetl.quantize import recipe as recipes
from edgetl.quantize.calibration import select
from edgetl.tasks import inspection
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.contract import Contract
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds

RUN = types.SimpleNamespace(
    task="inspection",
    labels=Labels(classes=("bad", "good", "odd", "worn"), defect_classes=("bad", "worn")),
    params=Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0),
    aims={"escape_cost": 1.0},
)
NOTHING_MAY_CHANGE = Contract(max_drop_pp=0.0, max_flips_pct=0.0, max_escapes=0)


def against(contract):
    return Judge.of(contract, task=RUN.task, labels=RUN.labels)


@pytest.fixture
def climber(conv_net, conv_net_images, tmp_path):
    """Returns a function of the contract; labels are the float model's own answers."""
    logits = observe.logits(graph.load(conv_net), conv_net_images)
    labels = logits.argmax(axis=1).astype(np.int64)

    def make(contract, *, calibration=True, retrain=None):
        chosen = select(conv_net_images, np.arange(48) % 2, count=24) if calibration else None
        return Climber(
            RUN,
            against=against(contract),
            reference=inspection.TASK.decided({"logits": logits}, labels, RUN.labels, RUN.params),
            val=room.Split(images=conv_net_images, labels=labels),
            model=conv_net,
            calibration=chosen,
            folder=tmp_path / "quantized",
            retrain=retrain,
        )

    return make


def planned(backend="onnxruntime", *rungs):
    recipe_names = rungs or (f"{backend}-int8", f"{backend}-int8-mixed")
    return PlannedCandidate(
        backend=backend, precision="int8", rungs=tuple(map(recipes.get, recipe_names)), threads=(1, 2)
    )


def test_climb_stops_at_rung_0_where_the_contract_is_loose(climber):
    found = climber(Contract(max_drop_pp=100, max_flips_pct=100, max_escapes=48)).climb(planned())
    assert [c.id for c in found] == ["onnxruntime-int8-t1", "onnxruntime-int8-t2"]
    for c in found:
        assert (c.evidence["rung"], c.evidence["evaluations"], c.accepted) == (0, 1, True)
        assert c.to_mapping()["rung"] == 0
        assert c.requires.cpu_flags == ()  # exact sums without VNNI


def test_climb_keeps_layers_in_float_until_no_decision_changes(climber, tmp_path):
    found = climber(NOTHING_MAY_CHANGE).climb(planned())[0]
    judged = climber(NOTHING_MAY_CHANGE).judged("onnxruntime", found.model, LoadOptions())
    assert judged["flips"] == found.flips
    if found.accepted and found.evidence["rung"] > 0:
        left = graph.layers_left_float(graph.load(found.model))
        assert set(found.evidence["kept_float"]) <= set(left)
    steps = found.evidence["steps"]
    assert sum(step["evaluations"] for step in steps) == found.evidence["evaluations"]
    json.dumps(found.to_mapping())


def test_climb_quantizes_the_retrained_model_on_a_rung_that_asks_for_it(climber, conv_net):
    asked = []

    def retrain(rounding):
        asked.append(rounding)
        return conv_net

    found = climber(NOTHING_MAY_CHANGE, retrain=retrain).climb(planned("onnxruntime", "onnxruntime-int8-retrained"))
    assert set(asked) == {"asymmetric"}
    assert found[0].evidence["recipe"] == "onnxruntime-int8-retrained"


def test_climb_leaves_out_the_rung_that_retrains_where_nothing_can(climber):
    rungs = ("onnxruntime-int8", "onnxruntime-int8-retrained")
    found = climber(NOTHING_MAY_CHANGE).climb(planned("onnxruntime", *rungs))
    assert [step["name"] for step in found[0].evidence["steps"]] == ["onnxruntime-int8"]


def test_climb_ends_at_rung_0_where_the_float_model_itself_misses_the_contract(climber, monkeypatch):
    one = climber(Contract(max_drop_pp=0, max_flips_pct=0))
    monkeypatch.setitem(one.reference.figures, "escapes", 48)
    monkeypatch.setattr(one, "against", against(Contract(max_drop_pp=0, max_flips_pct=0, max_escapes=0)))
    assert [step["rung"] for step in one.climb(planned())[0].evidence["steps"]] == [0]


def test_sensitivity_is_measured_once_and_kept_in_the_run(climber, tmp_path):
    one = climber(NOTHING_MAY_CHANGE)
    recipe = recipes.get("onnxruntime-int8-mixed")
    model, _ = one.make(recipe)
    found = one.sensitivity(recipe, model)
    path = next((tmp_path / "quantized").glob("sensitivity-*.json"))
    record = json.loads(path.read_text())
    assert record["schema"] == "edgetl.sensitivity/1"
    assert [layer["layer"] for layer in record["layers"]] == [layer.layer for layer in found]
    written = path.stat().st_mtime_ns
    assert one.sensitivity(recipe, model) == found
    assert path.stat().st_mtime_ns == written
    path.write_text("{}")
    assert {layer.layer for layer in one.sensitivity(recipe, model)} == {layer.layer for layer in found}


def test_ranked_layers_stay_below_the_share_of_time(climber):
    one = climber(NOTHING_MAY_CHANGE)
    recipe = recipes.get("onnxruntime-int8-mixed")
    model, _ = one.make(recipe)
    share = {layer.layer: layer.time_share for layer in one.sensitivity(recipe, model)}
    kept = one.ranked(recipe, model)
    assert 1 <= len(kept) < len(share)
    assert len(kept) == 1 or sum(share[layer] for layer in kept) <= recipe.file.keep_float_share


def test_climb_without_calibration_images_is_one_sentence(climber):
    with pytest.raises(QuantizeError, match="the calibration set must be at least one image; got none"):
        climber(Contract(), calibration=False).climb(planned())
