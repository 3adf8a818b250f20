"""INT8 on a CPU without 8-bit dot products: reduced-range weights do not saturate, full-range ones do and are refused.

oneDNN is told to leave the newer instructions alone, in a process of its own.
"""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.deploy.bundle_writer import write_bundle
from edgetl.quantize import recipe
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.probe import facts, lacking

RUN = (
    "import sys, numpy as np; from edgetl_runtime import backends;"
    "from edgetl_runtime.backends.base import LoadOptions;"
    "engine = backends.get('openvino'); options = LoadOptions(threads=1);"
    "session = engine.load(engine.compile(open(sys.argv[1], 'rb').read(), options), options);"
    "np.save(sys.argv[3], np.concatenate([session.infer(image[None])['logits'] for image in np.load(sys.argv[2])]))"
)
PLANS = ("avx512_vnni|avx_vnni",)

pytestmark = pytest.mark.skipif(
    bool(lacking(PLANS, facts().cpu_flags)), reason="this CPU has no VNNI that could be switched off"
)


def loud_net(classes=2):
    """Return a network whose convolution sums large products of one sign: what saturates 16 bits."""
    rng = np.random.default_rng(0)
    weights = {
        "first_w": np.abs(rng.normal(1, 0.1, (32, 3, 3, 3))).astype(np.float32),
        "second_w": np.abs(rng.normal(1, 0.1, (32, 32, 3, 3))).astype(np.float32),
        "head_w": rng.normal(0, 1, (classes, 32)).astype(np.float32),
        "first_b": np.zeros(32, np.float32),
        "second_b": np.zeros(32, np.float32),
        "head_b": np.zeros(classes, np.float32),
        "mean": np.full((1, 3, 1, 1), 0.0, np.float32),
        "scale": np.full((1, 3, 1, 1), 1 / 255, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["nchw", "mean"], ["centred"], "sub"),
        helper.make_node("Mul", ["centred", "scale"], ["normal"], "mul"),
        helper.make_node("Conv", ["normal", "first_w", "first_b"], ["one"], "first", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["one"], ["one_act"], "one_relu"),
        helper.make_node("Conv", ["one_act", "second_w", "second_b"], ["two"], "second", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["two"], ["two_act"], "two_relu"),
        helper.make_node("GlobalAveragePool", ["two_act"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "head_w", "head_b"], ["logits"], "head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "loud",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 16, 16, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(200, 256, (8, 16, 16, 3)).astype(np.uint8)


def without_vnni(command, **options):
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)


def gap_on_avx2(model, images, folder):
    """Return the largest difference of logits between this CPU and one without VNNI, relative to the logits."""
    from edgetl_runtime import backends

    (folder / "model.onnx").write_bytes(model)
    np.save(folder / "images.npy", images)
    files = [str(folder / name) for name in ("model.onnx", "images.npy", "logits.npy")]
    done = without_vnni([sys.executable, "-c", RUN, *files])
    assert done.returncode == 0, done.stderr
    engine, options = backends.get("openvino"), LoadOptions(threads=1)
    with engine.load(engine.compile(model, options), options) as session:
        here = np.concatenate([session.infer(image[None])["logits"] for image in images])
    return np.abs(np.load(folder / "logits.npy") - here).max() / np.abs(here).max()


@pytest.mark.parametrize("name", [r.name for r in recipe.for_backend("openvino", precision="int8")][:1])
def test_full_range_weights_saturate_and_the_recipe_without_vnni_does_not(name, images, tmp_path):
    chosen, model = recipe.get(name), loud_net()
    assert chosen.needs_vnni
    full, reduced = (recipe.apply(r, model, images).model for r in (chosen, chosen.without_vnni()))
    assert gap_on_avx2(full, images, tmp_path) > 0.05
    assert gap_on_avx2(reduced, images, tmp_path) < 1e-3


def test_bundle_that_would_saturate_is_refused_by_its_golden_vectors(images, tiny_parts, tmp_path):
    """Even one that forgot to name the instructions it needs."""
    from edgetl_runtime import backends
    from edgetl_runtime.golden import decisions_of
    from edgetl_runtime.tasks.inspection import TASK

    fields, members = tiny_parts()
    tensors = np.load(io.BytesIO(members["golden/tensors.npy"]))
    model = recipe.apply(recipe.get("openvino-int8"), loud_net(), np.maximum(tensors, 200)).model
    engine, options = backends.get("openvino"), LoadOptions(threads=1)
    with engine.load(engine.compile(model, options), options) as session:
        logits = np.concatenate([session.infer(tensor[None])["logits"] for tensor in tensors])
    variant = next(v for v in fields.variants if v.backend == "openvino")
    temperature = float(np.abs(logits[:, 0] - logits[:, 1]).mean())  # scores in the middle, where they can move
    params = dataclasses.replace(variant.params, temperature=temperature)
    scores = TASK.scores({"logits": logits}, fields.labels, params).astype(np.float32)
    buffer = io.BytesIO()
    np.save(buffer, scores)
    members |= {"models/loud/model.onnx": model, variant.golden: buffer.getvalue()}
    loud = dataclasses.replace(
        variant,
        precision="int8",
        params=params,
        files={"model": "models/loud/model.onnx"},
        golden_decisions=decisions_of(TASK, scores, fields.labels, params),
    )
    path = tmp_path / "loud.edgetl"
    write_bundle(
        path, dataclasses.replace(fields, variants=(loud, *(v for v in fields.variants if v is not variant))), members
    )
    command = [sys.executable, "-m", "edgetl_runtime", "verify", str(path), "--variant", loud.id]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    refused = without_vnni(command)
    assert refused.returncode == 1
    assert "golden" in refused.stderr
