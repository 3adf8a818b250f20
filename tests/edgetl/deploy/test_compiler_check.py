"""Deploy's step for NVIDIA: what the compiler takes passes with its words, what it refuses is out with one clause."""

from __future__ import annotations

import importlib.util

import pytest

from edgetl import profiles
from edgetl.deploy import compiler_check as room
from edgetl.deploy.candidates import Candidate
from edgetl.nvidia import gate
from edgetl.quantize import recipe
from edgetl_runtime.errors import UsageError
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.tasks.inspection import Params, Thresholds

JETSON, RTX = profiles.get("jetson"), profiles.get("ipc-rtx")
needs_compiler = pytest.mark.skipif(gate.missing() is not None, reason=f"NVIDIA's compiler: {gate.missing()}")


def candidate(backend, model, **changes):
    fields = {
        "id": f"{backend}-x", "backend": backend, "precision": "int8", "model": model, "evidence": {"recipe": "r"},
        "options": VariantOptions(), "requires": Requires(), "task": "inspection",
        "params": Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0),
        "val": {}, "drop_pp": 0.0, "flips": 0,
    }  # fmt: skip
    return Candidate(**{**fields, **changes})


@pytest.fixture(scope="module")
def models(conv_net, conv_net_images):
    return {n: recipe.apply(recipe.get(n), conv_net, conv_net_images[:8]).model
            for n in ("tensorrt-f16", "tensorrt-int8", "onnxruntime-int8")}  # fmt: skip


@needs_compiler
def test_what_the_compiler_takes_is_accepted_and_the_stand_in_is_said(models):
    (found,) = room.compiled([candidate("tensorrt", models["tensorrt-int8"])], JETSON)
    assert found.accepted
    assert found.evidence["recipe"] == "r"
    verdict = found.evidence["nvidia"]
    assert (verdict["compiled_for"], verdict["stands_in"], verdict["refused"]) == (("SM86",), "SM87", False)
    assert "standing in for SM87" in room.note(found)
    assert room.note(found).endswith("latency not measured on hardware")


@needs_compiler
def test_what_the_compiler_refuses_is_out_with_the_node(models):
    asymmetric = models["onnxruntime-int8"]
    found = room.compiled([candidate("tensorrt", asymmetric), candidate("onnxruntime", asymmetric)], JETSON)
    assert [c.accepted for c in found] == [False, True]
    assert found[0].why[0].startswith("NVIDIA's compiler: node '")
    assert found[1].evidence == {"recipe": "r"}


@needs_compiler
def test_an_rtx_profile_is_compiled_for_each_of_its_cards(models):
    (found,) = room.compiled([candidate("tensorrt_rtx", models["tensorrt-int8"])], RTX)
    assert found.accepted, found.why
    assert found.evidence["nvidia"]["compiled_for"] == ("SM86", "SM89", "SM120")
    assert found.evidence["nvidia"]["stands_in"] == ""
    assert "not for Turing (SM75), take --precision f16 there: " in room.note(found)
    engine = room.ahead(found, RTX)
    assert engine.about["compiled_for"] == ["SM86", "SM89", "SM120"]
    assert engine.about["compiler"].startswith("TensorRT for RTX 1.")
    assert engine.about["plan_bytes"] == len(engine.plan)
    assert room.ahead(candidate("onnxruntime", b""), RTX) is None


def test_without_the_compiler_nothing_is_refused_and_that_is_said(monkeypatch):
    real, said = importlib.util.find_spec, []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "tensorrt" in name else real(name))
    (found,) = room.compiled([candidate("tensorrt", b"model")], JETSON, said.append)
    assert found.accepted
    assert said == [
        "not checked by NVIDIA's compiler: the package tensorrt-rtx-bindings is not installed; "
        "pip install 'edgetl[tensorrt-rtx]'"
    ]
    assert room.note(found).startswith("not checked by NVIDIA's compiler")


@needs_compiler
def test_turing_alone_takes_float16_and_refuses_the_rest_with_the_operation(models):
    turing = profiles.get("ipc-rtx-turing")
    found = room.compiled([candidate("tensorrt_rtx", models[n]) for n in ("tensorrt-f16", "tensorrt-int8")], turing)
    assert [c.accepted for c in found] == [True, False]
    assert "for Turing (SM75): FP32 GEMM is not supported" in found[1].why[0]


@needs_compiler
def test_embedding_is_for_rtx_alone():
    room.check_embedding(RTX)
    with pytest.raises(UsageError, match="--embed-engine must be for a target with TensorRT for RTX; got jetson"):
        room.check_embedding(JETSON)
