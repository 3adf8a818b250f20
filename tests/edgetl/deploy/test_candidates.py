"""One candidate: made, judged at re-fitted thresholds, ranked."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from edgetl.deploy import candidates as room
from edgetl.deploy.candidates import Candidate
from edgetl.deploy.contract import Contract
from edgetl.metrics import flips
from edgetl.quantize import recipe as recipes
from edgetl.quantize.calibration import select
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.tasks.classification import Thresholds

LABELS = np.array([0, 1] * 50)
RUN = types.SimpleNamespace(
    classes=("bad", "ok"),
    defect_classes=("bad",),
    thresholds=Thresholds(nok_at=0.5, ok_below=0.5),
    temperature=1.0,
    cost={"escape": 5.0, "overkill": 1.0, "max_escape_rate": None},
)


def logits(seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    return (2 * np.eye(2)[LABELS] + noise * rng.normal(0, 1, (100, 2))).astype(np.float32)


@pytest.fixture(scope="module")
def reference():
    return room.reference_of(RUN, logits(), LABELS)


def candidate(**changes):
    fields = {
        "id": "openvino-f32-t1", "backend": "openvino", "precision": "f32", "model": b"model", "evidence": {},
        "options": VariantOptions(threads=1), "requires": Requires(), "thresholds": RUN.thresholds, "temperature": 1.0,
        "val": {"accuracy": 0.9, "escapes": 1, "overkill": 2, "n": 100}, "drop_pp": 0.0, "flips": 0,
    }  # fmt: skip
    return Candidate(**{**fields, **changes})


def latency(p99, longest=50.0):
    figures = {"p50": 1.0, "p99": p99, "max": longest}
    return {"decision_ms": figures, "infer_ms": figures, "n": 300, "measured_on": "this CPU"}


def test_judge_accepts_the_reference_itself(reference):
    judged = room.judge(RUN, Contract(), reference, LABELS, logits())
    assert (judged["drop_pp"], judged["why"]) == (0.0, ())
    assert judged["flips"] <= 2  # its own temperature moves a score across the threshold at most
    assert judged["val"]["accuracy"] == reference.val["accuracy"]


def test_judge_says_what_a_worse_model_breaks(reference):
    judged = room.judge(RUN, Contract(), reference, LABELS, logits(seed=1, noise=3.0))
    predicted = logits(seed=1, noise=3.0).argmax(axis=1)
    assert judged["drop_pp"] == pytest.approx(100 * (reference.val["accuracy"] - (predicted == LABELS).mean()))
    assert judged["flips"] >= (predicted != reference.labels).sum()
    assert {word.split()[0] for word in judged["why"]} >= {"accuracy", "flips"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_judge_refuses_scores_that_are_not_finite(value, reference):
    broken = logits()
    broken[7, 1] = value
    judged = room.judge(RUN, Contract(max_drop_pp=100, max_flips_pct=100), reference, LABELS, broken)
    assert judged["why"] == ("scores are NaN or infinite",)
    assert (judged["flips"], judged["val"]["accuracy"]) == (100, 0.0)
    assert candidate(**judged).to_mapping()["accepted"] is False


def test_rank_is_by_measured_p99_and_without_it_by_the_profile():
    slow, fast = candidate(id="slow", latency=latency(9.0)), candidate(id="fast", latency=latency(2.0))
    refused = candidate(id="refused", latency=latency(1.0), why=("flips 9.00 % > 2.00",))
    unknown = candidate(id="unknown", latency=latency(None, longest=5.0))  # too few timings: its slowest one counts
    assert [c.id for c in room.rank([slow, refused, fast, unknown])] == ["fast", "unknown", "slow"]
    assert [c.id for c in room.rank([candidate(id="b"), candidate(id="a")])] == ["b", "a"]


def test_candidate_as_json_says_where_nothing_was_measured():
    measured = candidate(latency=latency(2.0)).to_mapping()
    assert measured["latency_ms"] == {"p50": 1.0, "p99": 2.0}
    assert measured["measured_on"] == "this CPU"
    assert (measured["accepted"], measured["why"], measured["size_bytes"]) == (True, "", 5)
    plain = candidate().to_mapping()
    assert (plain["latency_ms"], plain["measured_on"]) == (None, "not measured on hardware")


def test_one_per_model_keeps_the_first_thread_count():
    found = room.one_per_model([candidate(id="t1"), candidate(id="t2"), candidate(id="x", precision="int8")])
    assert [c.id for c in found] == ["t1", "x"]


@pytest.mark.parametrize(
    ("precision", "needs_vnni", "flags"), [("f32", False, 0), ("int8", False, 0), ("int8", True, 1), ("bf16", False, 1)]
)
def test_requirements_name_what_a_model_needs(precision, needs_vnni, flags):
    assert len(room.requirements(precision, needs_vnni=needs_vnni).cpu_flags) == flags


def test_unusable_here_names_the_missing_instructions(monkeypatch):
    bare = dataclasses.replace(room.facts(), cpu_flags=("avx2",))
    monkeypatch.setattr(room, "facts", lambda: bare)
    assert "this CPU lacks" in room.unusable_here("openvino", "bf16")
    assert room.unusable_here("openvino", "int8") is None  # a model that does not saturate is made for it
    assert room.unusable_here("tensorrt", "int8") is None  # computed on the board, not here


def test_judge_keeps_the_float_models_thresholds_where_they_keep_the_contract(reference):
    judged = room.judge(RUN, Contract(max_drop_pp=5, max_flips_pct=10), reference, LABELS, logits() + 0.01)
    assert (judged["thresholds"], judged["temperature"]) == (RUN.thresholds, RUN.temperature)
    shifted = logits()
    shifted[np.flatnonzero(LABELS == 0)[:3]] = (-9, 9)  # three sure escapes: a cheaper cut lies far away
    tight = Contract(max_drop_pp=100, max_flips_pct=4, max_escapes=50)
    assert room.judge(RUN, tight, reference, LABELS, shifted)["flips"] <= 4


def test_judge_carries_the_thresholds_over_where_all_scores_are_shifted():
    low = types.SimpleNamespace(**{**vars(RUN), "thresholds": Thresholds(nok_at=0.1, ok_below=0.1)})
    reference = room.reference_of(low, logits(), LABELS)
    shifted = logits() + np.array([0, 0.4], np.float32)  # every part looks better than it is
    judged = room.judge(low, Contract(max_drop_pp=100, max_flips_pct=5), reference, LABELS, shifted)
    assert (judged["flips"], judged["why"]) == (3, ())
    at_the_float_models = room.decisions_of(low, shifted, low.thresholds, 1.0)
    assert flips((reference.verdicts, reference.labels), at_the_float_models).sum() == 7


def test_judge_refits_by_cost_where_nothing_else_keeps_the_escapes(reference):
    contract = Contract(max_drop_pp=100, max_flips_pct=100, max_escapes=5)
    judged = room.judge(RUN, contract, reference, LABELS, logits(seed=2, noise=1.2))
    assert judged["val"]["escapes"] == 3
    assert judged["why"] == ()
    kept = room.metrics_of(RUN, logits(seed=2, noise=1.2), LABELS, RUN.thresholds, RUN.temperature)
    assert kept["escapes"] == 8


def test_make_model_reuses_what_is_whole_and_makes_again_what_is_damaged(conv_net, conv_net_images, tmp_path):
    recipe = recipes.get("onnxruntime-int8")
    calibration = select(conv_net_images, np.arange(48) % 2, count=32)
    model, evidence = room.make_model(recipe, conv_net, calibration, tmp_path)
    assert (evidence["recipe"], evidence["calibration_images"]) == ("onnxruntime-int8", 32)
    path = next(tmp_path.glob("*.onnx"))
    made_at = path.stat().st_mtime_ns
    assert room.make_model(recipe, conv_net, calibration, tmp_path) == (model, evidence)
    assert path.stat().st_mtime_ns == made_at
    for damage in (path, path.with_suffix(".json")):
        damage.write_bytes(damage.read_bytes()[:-30])
        assert room.make_model(recipe, conv_net, calibration, tmp_path)[0] == model
    other = select(conv_net_images, np.arange(48) % 2, count=30)
    room.make_model(recipe, conv_net, other, tmp_path)
    assert len(list(tmp_path.glob("*.onnx"))) == 2


def test_make_model_needs_no_images_where_the_recipe_needs_none(conv_net, tmp_path):
    model, evidence = room.make_model(recipes.get("tensorrt-f16"), conv_net, None, tmp_path)
    assert model != conv_net
    assert "calibration" not in evidence
    assert room.make_model(recipes.get("float32"), conv_net, None, tmp_path)[0] == conv_net
