"""export from outside: the file, its proof, and NVIDIA's compiler as a condition."""

from __future__ import annotations

import importlib.util
import types

import onnx
import pytest
from onnx import helper

from edgetl.cli import export
from edgetl.export import run_export
from edgetl.nvidia import gate

needs_compiler = pytest.mark.skipif(gate.missing() is not None, reason=f"NVIDIA's compiler: {gate.missing()}")


def refused_by_the_compiler(model):
    """Return the graph with a last operator that nobody knows."""
    graph = onnx.load_model_from_string(model)
    name = graph.graph.node[-1].output[0]
    graph.graph.node[-1].output[0] = "before"
    graph.graph.node.append(helper.make_node("Unheard", ["before"], [name], "strange"))
    return graph.SerializeToString()


@needs_compiler
def test_check_nvidia_compiles_what_is_written_and_says_what_is_not_known(edgetl, run_folder, tmp_path):
    out = tmp_path / "m.onnx"
    answer = edgetl("export", run_folder.path, "--out", out, "--check", "nvidia")
    assert (answer.exit, answer.result["schema"]) == (0, "edgetl.export/1"), answer
    assert out.stat().st_size == answer.result["size_bytes"]
    check = answer.result["check"]
    assert check["compiler"].startswith("TensorRT for RTX 1.")
    assert (check["accepted"], check["compiled_for"], check["stands_in"]) == (True, ["SM86"], "SM87")
    assert check["layers"] > 50
    assert check["seconds"] > 0
    assert check["note"] == "latency not measured on hardware"
    last = export.show(answer.result).splitlines()[-1]
    assert "for SM86, standing in for SM87: " in last
    assert last.endswith("latency not measured on hardware")


@pytest.fixture
def planted(monkeypatch, conv_net):
    """A run whose export NVIDIA's compiler refuses."""
    made = types.SimpleNamespace(model=refused_by_the_compiler(conv_net), parity={})
    monkeypatch.setattr(run_export, "export_run", lambda *_: made)


@needs_compiler
def test_what_the_compiler_refuses_is_not_written_and_the_node_is_named(edgetl, run_folder, tmp_path, planted):
    out = tmp_path / "m.onnx"
    out.write_bytes(b"what was there")
    answer = edgetl("export", run_folder.path, "--out", out, "--force", "--check", "nvidia")
    assert (answer.exit, answer.result["exit"], answer.result["error"]["type"]) == (1, 1, "ExportError")
    assert answer.result["error"]["message"].startswith(
        "the exported graph must be accepted for NVIDIA; got a refusal: node 'strange' (Unheard) must be accepted by "
        "the parser of TensorRT for RTX 1."
    )
    assert out.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "run"]


def test_without_a_check_nobody_is_asked(edgetl, run_folder, tmp_path, planted):
    """The negative control: the same graph is written, and no word says that it was checked."""
    answer = edgetl("export", run_folder.path, "--out", tmp_path / "m.onnx")
    assert answer.exit == 0
    assert "check" not in answer.result


def test_without_the_compiler_the_command_that_installs_it_is_said_before_anything_is_done(
    edgetl, tmp_path, monkeypatch
):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "tensorrt" in name else real(name))
    answer = edgetl("export", tmp_path / "no-run", "--out", tmp_path / "m.onnx", "--check", "nvidia")
    assert (answer.exit, answer.result["error"]["type"]) == (1, "BackendMissingError")
    assert answer.result["error"]["message"] == (
        "--check nvidia must be possible on this machine; got the package tensorrt-rtx-bindings is not installed."
    )
    assert answer.result["error"]["try"] == "pip install 'edgetl[tensorrt-rtx]'"


def test_another_checker_is_a_usage_error(edgetl, tmp_path):
    answer = edgetl("export", tmp_path, "--out", tmp_path / "m.onnx", "--check", "intel")
    assert answer.exit == 2
    assert answer.result["error"]["message"] == "--check of edgetl export must be one of nvidia; got 'intel'."
