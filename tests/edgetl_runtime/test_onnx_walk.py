"""The walk agrees with `onnx`, refuses what a station must not load, and never fails otherwise."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgetl_runtime import onnx_walk
from edgetl_runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL_KINDS = set(onnx_walk.MESSAGES)


def tensor(name: str = "w", *, external: bool = False) -> TensorProto:
    made = numpy_helper.from_array(np.ones(3, np.float32), name)
    if external:
        onnx.external_data_helper.set_external_data(made, "secrets.bin")
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
    return made


def graph_with(*nodes: onnx.NodeProto, initializers: tuple[TensorProto, ...] = (), name: str = "g") -> onnx.GraphProto:
    value = helper.make_tensor_value_info
    inputs, outputs = [value("image", TensorProto.FLOAT, ["N", 3])], [value("logits", TensorProto.FLOAT, ["N", 3])]
    return helper.make_graph(list(nodes), name, inputs, outputs, list(initializers))


def model_of(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def walk(model: onnx.ModelProto) -> onnx_walk.ModelFacts:
    return onnx_walk.check(model.SerializeToString(), name="m.onnx")


def nested(depth: int, innermost: onnx.NodeProto) -> onnx.NodeProto:
    node = innermost
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph_with(node), else_branch=graph_with(node))
    return node


RELU = helper.make_node("Relu", ["image"], ["logits"])


def test_check_learns_inputs_outputs_opset_and_operators(tiny_onnx: Callable[..., bytes]) -> None:
    facts = onnx_walk.check(tiny_onnx(classes=5, size_px=8), name="m.onnx")
    assert facts.inputs == {"image": ("N", 8, 8, 3)}
    assert facts.outputs == {"logits": ("N", 5)}
    assert facts.opset == 18
    assert facts.operators["Cast"] == facts.operators["Gemm"] == 1


@pytest.mark.parametrize("kind", sorted(MODEL_KINDS))
def test_messages_equal_the_installed_onnx(kind: str) -> None:
    fields = {f.number: f for f in getattr(onnx, kind).DESCRIPTOR.fields}
    assert set(fields) <= set(onnx_walk.MESSAGES[kind]), "onnx has a field the walk does not know"
    for number, what in onnx_walk.MESSAGES[kind].items():
        if what in MODEL_KINDS:
            assert fields[number].message_type.name == what
        inner = fields[number].message_type if number in fields else None
        if inner is not None and inner.name in MODEL_KINDS:
            assert what == inner.name, f"field {number} of {kind} must be walked"


@pytest.mark.parametrize(
    "where",
    ["initializer", "attribute", "attribute list", "subgraph", "sparse", "sparse attribute", "function", "constant"],
)
def test_check_refuses_external_data_anywhere(where: str) -> None:
    outside = tensor(external=True)
    model = model_of(graph_with(RELU))
    constant = helper.make_node("Constant", [], ["c"], value=outside)
    sparse = onnx.SparseTensorProto(values=outside, indices=numpy_helper.from_array(np.arange(3)), dims=[3])
    if where == "initializer":
        model.graph.initializer.append(outside)
    elif where == "attribute":
        model.graph.node.append(constant)
    elif where == "attribute list":
        model.graph.node.append(helper.make_node("X", [], ["c"], values=[outside]))
    elif where == "subgraph":
        model.graph.node.append(nested(2, constant))
    elif where == "sparse":
        model.graph.sparse_initializer.append(sparse)
    elif where == "sparse attribute":
        model.graph.node.append(helper.make_node("Constant", [], ["c"], sparse_value=sparse))
    elif where == "function":
        model.functions.append(helper.make_function("", "F", ["a"], ["b"], [constant], []))
    else:
        model.graph.node.append(helper.make_node("Loop", [], ["c"], body=graph_with(initializers=(outside,))))
    with pytest.raises(BundleError, match="without external data"):
        walk(model)


def test_check_refuses_a_location_without_entries_and_entries_without_location() -> None:
    first, second = tensor(), tensor()
    first.data_location = TensorProto.EXTERNAL
    second.external_data.add(key="location", value="x")
    for made in (first, second):
        with pytest.raises(BundleError, match="without external data"):
            walk(model_of(graph_with(RELU, initializers=(made,))))


def test_check_refuses_training_graphs() -> None:
    model = model_of(graph_with(RELU))
    model.training_info.add().initialization.CopyFrom(graph_with(RELU))
    with pytest.raises(BundleError, match="without training graphs"):
        walk(model)


@pytest.mark.parametrize("where", ["node", "opset", "subgraph", "function", "function node"])
def test_check_refuses_unknown_domains(where: str) -> None:
    node = helper.make_node("Evil", ["image"], ["logits"], domain="evil.ops")
    model = model_of(graph_with(RELU))
    if where == "node":
        model.graph.node.append(node)
    elif where == "opset":
        model.opset_import.add(domain="evil.ops", version=1)
    elif where == "subgraph":
        model.graph.node.append(nested(1, node))
    elif where == "function":
        model.functions.append(helper.make_function("evil.ops", "F", ["a"], ["b"], [RELU], []))
    else:
        model.functions.append(helper.make_function("", "F", ["a"], ["b"], [node], []))
    with pytest.raises(BundleError, match=r"the domain 'evil\.ops'"):
        walk(model)


@pytest.mark.parametrize("domain", sorted(onnx_walk.ALLOWED_DOMAINS))
def test_check_accepts_allowed_domains(domain: str) -> None:
    assert walk(model_of(graph_with(helper.make_node("X", ["image"], ["logits"], domain=domain)))).operators == {"X": 1}


def test_check_refuses_operators_that_load_binaries() -> None:
    node = helper.make_node("EPContext", ["image"], ["logits"], domain="com.microsoft", ep_cache_context="/x.so")
    with pytest.raises(BundleError, match="the operator EPContext"):
        walk(model_of(graph_with(node)))


def test_check_refuses_deep_graphs() -> None:
    assert walk(model_of(graph_with(nested(3, RELU)))).operators["If"] == 2**3 - 1
    with pytest.raises(BundleError, match="messages deep"):
        walk(model_of(graph_with(nested(9, RELU))))


def test_check_refuses_several_graphs_or_none(tiny_onnx: Callable[..., bytes]) -> None:
    with pytest.raises(BundleError, match="one graph; got 2"):
        onnx_walk.check(tiny_onnx() + model_of(graph_with(RELU)).SerializeToString(), name="m")
    with pytest.raises(BundleError, match="one graph; got 0"):
        onnx_walk.check(b"\x08\x0a", name="m")


@pytest.mark.parametrize(
    ("suffix", "words"),
    [
        (b"\xf8\x3f\x01", "field 1023"),
        (b"\x3b", "wire type 3"),
        (b"\x3a\xff\xff\xff\xff\x7f", "beyond its end"),
        (b"\x3a\x80", "cut off"),
        (b"\x08" + b"\xff" * 11, "cut off or too long"),
        (b"\x02\x00", "field number 0"),
        (b"\x38\x01", "GraphProto with wire type 0"),
    ],
)
def test_check_refuses_malformed_bytes(suffix: bytes, words: str, tiny_onnx: Callable[..., bytes]) -> None:
    with pytest.raises(BundleError, match=words):
        onnx_walk.check(tiny_onnx() + suffix, name="m")


def test_check_refuses_domains_of_a_wrong_wire_type_or_text(tiny_onnx: Callable[..., bytes]) -> None:
    with pytest.raises(BundleError, match="domain with wire type 0"):
        onnx_walk.check(tiny_onnx() + b"\x42\x02\x08\x01", name="m")
    with pytest.raises(BundleError, match="not UTF-8"):
        onnx_walk.check(tiny_onnx() + b"\x42\x03\x0a\x01\xff", name="m")


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04K\x01.", b"<net/>", b"\x08\x0a\x32\x06ORTM\0\0", b"\x08\x0a\x32\x06TFL3\0\0"]
)
def test_check_refuses_other_formats(data: bytes) -> None:
    with pytest.raises(BundleError, match="an ONNX model; got bytes that are not one"):
        onnx_walk.check(data, name="m")


def test_check_is_bounded(monkeypatch: pytest.MonkeyPatch, tiny_onnx: Callable[..., bytes]) -> None:
    monkeypatch.setattr(onnx_walk, "MAX_FIELDS", 20)
    with pytest.raises(BundleError, match="of at most 20 fields"):
        onnx_walk.check(tiny_onnx(), name="m")


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_check_raises_nothing_but_bundle_errors(data: st.DataObject, tiny_onnx: Callable[..., bytes]) -> None:
    model = bytearray(tiny_onnx())
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(model) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    ):
        model[at] = value
    cut = data.draw(st.integers(0, len(model)))
    with contextlib.suppress(BundleError):
        onnx_walk.check(bytes(model[cut:] if data.draw(st.booleans()) else model[:cut]), name="m")


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_check_survives_random_bytes(tail: bytes) -> None:
    with contextlib.suppress(BundleError):
        onnx_walk.check(b"\x08\x0a" + tail, name="m")


def two_outputs() -> bytes:
    """Return a graph whose second output is read through a branch of an `If`, and by nothing else."""
    inner = helper.make_graph(
        [helper.make_node("Neg", ["hidden"], ["negative"])],
        "inner",
        [],
        [helper.make_tensor_value_info("negative", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sqrt", ["float"], ["hidden"]),
        helper.make_node("If", ["always"], ["map"], then_branch=inner, else_branch=inner),
        helper.make_node("ReduceMean", ["float"], ["logits"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("logits", "map")]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 4, 4, 3])
    always = helper.make_tensor("always", TensorProto.BOOL, [], [True])
    graph = helper.make_graph(nodes, "two", [image], values, [always])
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())


@pytest.mark.parametrize(
    ("names", "operators"),
    [(["logits"], ["Cast", "ReduceMean"]), (["map"], ["Cast", "Sqrt", "If"])],
)
def test_with_outputs_keeps_what_they_need_and_nothing_else(names: list[str], operators: list[str]) -> None:
    found = onnx.load_from_string(onnx_walk.with_outputs(two_outputs(), names, name="m"))
    assert [output.name for output in found.graph.output] == names
    assert [node.op_type for node in found.graph.node] == operators
    assert found.graph.initializer[0].name == "always"


def test_with_outputs_gives_back_a_model_that_has_no_others() -> None:
    model = two_outputs()
    assert onnx_walk.with_outputs(model, ["map", "logits"], name="m") is model
    with pytest.raises(BundleError, match="m must be one with the output score; got logits, map"):
        onnx_walk.with_outputs(model, ["score"], name="m")


def test_outputs_are_what_the_graph_declares() -> None:
    found = onnx_walk.outputs(two_outputs(), name="m")
    assert found == {name: onnx_walk.Output(element_type=onnx_walk.FLOAT, shape=("N", 2)) for name in ("logits", "map")}
