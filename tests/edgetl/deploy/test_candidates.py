"""One candidate: made, kept, ranked."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from edgetl.deploy import candidates as room
from edgetl.deploy.candidates import Candidate
from edgetl.quantize import recipe as recipes
from edgetl.quantize.calibration import select
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds

HALF = Thresholds(nok_at=0.5, ok_below=0.5)


def candidate(**changes):
    fields = {
        "id": "openvino-f32-t1", "backend": "openvino", "precision": "f32", "model": b"model", "evidence": {},
        "options": VariantOptions(threads=1), "requires": Requires(), "task": "inspection",
        "params": Params(thresholds=HALF, temperature=1.0),
        "val": {"accuracy": 0.9, "escapes": 1, "overkill": 2, "n": 100}, "drop_pp": 0.0, "flips": 0,
    }  # fmt: skip
    return Candidate(**{**fields, **changes})


def latency(p50):
    figures = {"p50": p50, "p99": 2.0, "max": 50.0}
    return {"decision_ms": figures, "infer_ms": figures, "n": 300, "measured_on": "this CPU"}


def test_accepted_candidates_are_listed_by_p50_and_without_it_by_the_profile():
    slow, fast = candidate(id="slow", latency=latency(9.0)), candidate(id="fast", latency=latency(2.0))
    refused = candidate(id="refused", latency=latency(1.0), why=("flips 9.00 % > 2.00",))
    assert [c.id for c in room.by_speed([slow, refused, fast])] == ["fast", "slow"]
    assert [c.id for c in room.by_speed([candidate(id="b"), candidate(id="a")])] == ["b", "a"]


def test_candidate_as_json_says_where_nothing_was_measured():
    measured = candidate(latency=latency(1.0)).to_mapping()
    assert measured["latency_ms"] == {"p50": 1.0, "p99": 2.0}
    assert measured["measured_on"] == "this CPU"
    assert (measured["accepted"], measured["why"], measured["size_bytes"]) == (True, "", 5)
    plain = candidate().to_mapping()
    assert (plain["latency_ms"], plain["measured_on"]) == (None, "not measured on hardware")


def test_what_test_refuses_is_one_variant_not_all_that_share_its_bytes():
    """bf16 and f32 are one file, loaded in two ways: the shipped f32 is not recorded as refused with bf16."""
    made = [candidate(id="openvino-bf16", precision="bf16"), candidate(id="openvino-f32", precision="f32")]
    assert made[0].model == made[1].model
    after = room.refused_on_test(made, made[0], ("flips 3.00 % > 2.00",))
    assert [(c.id, c.why) for c in after] == [("openvino-bf16", ("flips 3.00 % > 2.00 on test",)), ("openvino-f32", ())]


def test_stand_in_is_judged_in_the_same_arithmetic_wherever_it_is_judged(conv_net, conv_net_images, monkeypatch):
    """Validation, test and golden vectors of a TensorRT candidate: the graph's own arithmetic, never int8 kernels."""
    from edgetl.deploy import confirming, golden_vectors

    asked = []
    monkeypatch.setattr(
        room, "evaluated", lambda backend, *_: asked.append(backend) or {"logits": np.zeros((2, 2), np.float32)}
    )
    monkeypatch.setattr(golden_vectors, "evaluated", room.evaluated)
    monkeypatch.setattr(room, "outputs_of", lambda *_: pytest.fail("other arithmetic"))
    one = candidate(backend="tensorrt", precision="int8", model=conv_net)
    look = object.__new__(confirming.Look)
    look.run, look.reference = types.SimpleNamespace(labels=None), None
    look.task = types.SimpleNamespace(decided=lambda *_: pytest.fail("far enough"))
    look.test = room.Split(images=conv_net_images, labels=np.zeros(len(conv_net_images), np.int64))
    with pytest.raises(pytest.fail.Exception, match="far enough"):
        look.confirm(one)
    golden = object.__new__(golden_vectors.GoldenSet)
    golden.tensors, golden.run = (
        conv_net_images,
        types.SimpleNamespace(task="inspection", labels=Labels(classes=("a", "b"), defect_classes=("a",))),
    )
    golden.expected(one)
    assert asked == ["tensorrt", "tensorrt"]


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
