"""A run is exported once; what is stale or damaged is made again, what disagrees is not kept."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnxruntime
import pytest

from edgetl.errors import ParityError, RunError
from edgetl.export import run_export
from edgetl.export.run_export import export_run
from edgetl.run import RunFolder
from edgetl_runtime import onnx_walk


@pytest.fixture
def folder(deployed, tmp_path):
    return RunFolder(shutil.copytree(deployed.run, tmp_path / "copy"))


@pytest.fixture
def exports(monkeypatch):
    """Counts real exports; each leaves a copy of the model made before."""
    calls = []

    def export(folder, run, path):
        calls.append(path)
        record = json.loads(path.with_suffix(".json.kept").read_text())
        path.write_bytes(path.with_suffix(".kept").read_bytes())
        return {"sha256": record["sha256"], "parity": record["parity"]}

    monkeypatch.setattr(run_export, "_export", export)
    return calls


def test_exported_model_is_the_graph_of_the_house(deployed):
    exported = export_run(RunFolder(deployed.run), RunFolder(deployed.run).read())
    onnx_walk.check(exported.model, name="model.onnx")
    session = onnxruntime.InferenceSession(exported.model)
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape[1:]) == ("image", "tensor(uint8)", [64, 64, 3])
    assert (logits.name, logits.shape[1]) == ("logits", 2)
    assert isinstance(image.shape[0], str)
    for count in (1, 3):
        assert session.run(None, {"image": np.zeros((count, 64, 64, 3), np.uint8)})[0].shape == (count, 2)
    assert {e["engine"] for e in exported.parity["engines"]} == {"onnxruntime", "openvino"}
    assert all(e["flips"] == 0 for e in exported.parity["engines"])


@pytest.mark.parametrize("damage", ["none", "model", "record", "form", "weights"])
def test_export_run_exports_again_only_where_it_must(damage, folder, exports):
    run = folder.read()
    path = folder.path / "export" / "model.onnx"
    record = path.with_suffix(".json")
    shutil.copy(path, path.with_suffix(".kept"))
    shutil.copy(record, path.with_suffix(".json.kept"))
    model = path.read_bytes()
    if damage == "model":
        path.write_bytes(model[:-1])
    elif damage == "record":
        record.write_text("{")
    elif damage == "form":
        record.write_text("[]")
    elif damage == "weights":
        folder.weights.write_bytes(folder.weights.read_bytes() + b"\0")
    assert export_run(folder, run).model == model
    assert len(exports) == (damage != "none")
    assert export_run(folder, run).model == model
    assert len(exports) == (damage != "none")


def test_export_beyond_tolerance_leaves_nothing(folder, monkeypatch):
    shutil.rmtree(folder.path / "export")

    def refuse(*_):
        raise ParityError("engines", "agreeing", "a difference", fix="none")

    monkeypatch.setattr(run_export, "check_parity", refuse)
    monkeypatch.setattr(run_export, "export_onnx", lambda *_, path, **__: path.write_bytes(b"onnx"))
    with pytest.raises(ParityError):
        export_run(folder, folder.read())
    assert list((folder.path / "export").iterdir()) == []


def test_export_names_missing_weights(folder):
    folder.weights.unlink()
    with pytest.raises(RunError, match="must be the weights of the run; got No such file"):
        export_run(folder, folder.read())


def test_export_command_writes_the_model_and_refuses_to_overwrite(deployed, edgetl, tmp_path):
    out = tmp_path / "x.onnx"
    answer = edgetl("export", deployed.run, "--out", out)
    assert (answer.exit, answer.result["schema"]) == (0, "edgetl.export/1")
    assert out.stat().st_size == answer.result["size_bytes"]
    assert edgetl("export", deployed.run, "--out", out).exit == 2
    assert edgetl("export", deployed.run, "--out", out, "--force").exit == 0
