"""The gate with NVIDIA's own compiler: it lets our graphs through and refuses the forms for CPUs."""

from __future__ import annotations

import importlib.util

import pytest
from onnx import helper

from edgetl import profiles
from edgetl.nvidia import gate
from edgetl.quantize import graph, recipe
from edgetl_runtime.errors import BackendError, BackendMissingError

needs_compiler = pytest.mark.skipif(gate.missing() is not None, reason=f"NVIDIA's compiler: {gate.missing()}")


@pytest.fixture(scope="module")
def made(conv_net, conv_net_images):
    return lambda name: recipe.apply(recipe.get(name), conv_net, conv_net_images[:8]).model


@needs_compiler
@pytest.mark.parametrize("name", ["float32", "tensorrt-f16", "tensorrt-int8"])
def test_graphs_for_tensorrt_are_compiled_and_what_is_not_known_is_said(made, name):
    checked = gate.check(made(name))
    assert checked.accepted, checked.reason
    assert (checked.compiled_for, checked.stands_in, checked.findings) == (("SM86",), "SM87", ())
    assert checked.plan_bytes > 1000
    assert checked.words.startswith("compiled by TensorRT for RTX 1.")
    assert "for SM86, standing in for SM87: " in checked.words
    assert checked.words.endswith("latency not measured on hardware")


@needs_compiler
def test_the_asymmetric_graph_is_refused_by_the_compiler_in_one_sentence_with_the_node(made):
    """The negative control: the same network in the form that is fast on CPUs."""
    checked = gate.check(made("onnxruntime-int8"))
    assert not checked.accepted
    assert checked.reason.startswith("node '")
    assert "must be accepted by the parser of TensorRT for RTX" in checked.reason
    assert "\n" not in checked.reason
    assert len(checked.findings) > 3
    assert checked.words == f"refused: {checked.reason}"


@needs_compiler
def test_a_non_zero_zero_point_alone_is_refused_by_the_parser(made):
    model = graph.load(made("tensorrt-int8"))
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[0] not in graph.constant_names(model):
            zero = next(t for t in model.graph.initializer if t.name == node.input[2])
            zero.raw_data = b"\x05"
    checked = gate.check(model.SerializeToString())
    assert "zero point is not supported" in checked.reason


@needs_compiler
def test_a_rule_alone_refuses_what_the_compiler_takes(made):
    """One Q/DQ pair taken from a residual addition compiles, but its convolution would run in float on the device."""
    model = graph.load(made("tensorrt-int8"))
    addition = next(n for n in model.graph.node if n.op_type == "Add")
    producers = graph.producer_of(model)
    addition.input[1] = producers[producers[addition.input[1]].input[0]].input[0]
    checked = gate.check(graph.to_bytes(model))
    assert not checked.accepted
    assert checked.plan_bytes > 1000
    assert checked.reason == "rule residual-both: node 'residual_add' has Q/DQ on one input, it must have it on both"


@needs_compiler
def test_an_operator_nobody_knows_is_named_with_its_node(conv_net):
    model = graph.load(conv_net)
    name = model.graph.node[-1].output[0]
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Unheard", ["before"], [name], "strange"))
    checked = gate.check(model.SerializeToString())
    assert "node 'strange' (Unheard) must be accepted by the parser" in checked.reason


@needs_compiler
def test_an_engine_is_compiled_ahead_for_several_cards(conv_net):
    one = gate.compile_ahead(conv_net, wanted=("SM89",))
    two = gate.compile_ahead(conv_net, wanted=("SM86", "SM89"))
    assert len(two.plan) != len(one.plan)


def test_the_gpus_of_the_profiles_are_known():
    assert gate.capabilities(profiles.get("jetson")) == ("SM87",)
    for profile in profiles.all_profiles():
        for name in gate.capabilities(profile):
            assert name in (*gate.OFFERED, *gate.STAND_INS), profile.name


def test_a_gpu_nobody_compiles_for_is_refused(conv_net):
    with pytest.raises(BackendError, match=r"the compute capability must be one of SM75, .* got 'SM53'"):
        gate.check(conv_net, wanted=("SM53",))


def test_without_the_compiler_the_sentence_names_the_command(conv_net, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "tensorrt" in name else real(name))
    assert gate.missing() == "the package tensorrt-rtx-bindings is not installed"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(gate, "compile_ahead", _missing)
    with pytest.raises(BackendMissingError, match="the compiler must be usable"):
        gate.check(conv_net)


def _missing(*_, **__):
    what, must, got = "the compiler", "usable", "the package tensorrt-rtx-bindings is not installed"
    raise BackendMissingError(what, must, got, fix="pip install")
