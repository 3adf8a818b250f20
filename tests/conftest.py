"""Fixtures for every room: a tiny ONNX model and a tiny bundle that three backends run."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import hypothesis
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime import backends, golden, manifest
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.decode import decode
from edgetl_runtime.preprocess import PreprocessSpec, preprocess
from edgetl_runtime.tasks.inspection import TASK, Labels, Params, Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# an example is right or wrong, however long this machine takes for it
hypothesis.settings.register_profile("edgetl", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("edgetl")


def build_tiny_onnx(*, classes: int = 2, size_px: int = 16, seed: int = 0, domain: str = "") -> bytes:
    """Return docs/contracts.md's graph in small: uint8 NHWC → Cast → Transpose → Sub, Mul → pool → Gemm → logits."""
    rng = np.random.default_rng(seed)
    constants = {
        "mean": np.full((1, 3, 1, 1), 127.5, np.float32),
        "scale": np.full((1, 3, 1, 1), 1 / 127.5, np.float32),
        "weight": rng.normal(0, 4, (3, classes)).astype(np.float32),
        "bias": rng.normal(0, 0.1, classes).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["nchw", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["normal"]),
        helper.make_node("GlobalAveragePool", ["normal"], ["pooled"], domain=domain),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", size_px, size_px, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if not domain:
        onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def npy(array: np.ndarray) -> bytes:
    """Return the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def tiny_images(count: int, *, size_px: int = 24, seed: int = 0) -> list[bytes]:
    """Return PNG files of flat colours with noise, far enough apart for different decisions."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        pixels = np.clip(rng.integers(0, 256, 3) + rng.normal(0, 20, (size_px, size_px, 3)), 0, 255).astype(np.uint8)
        images.append(cv2.imencode(".png", pixels)[1].tobytes())
    return images


def tiny_contents(*, size_px: int = 16, count: int = 16) -> tuple[manifest.Manifest, dict[str, bytes]]:
    """Return a manifest without files, and the members, of a bundle for onnxruntime, openvino and null."""
    spec = PreprocessSpec(width_px=size_px, height_px=size_px)
    images = tiny_images(count)
    tensors = np.stack([preprocess(decode(data, spec), spec, colour="rgb") for data in images])
    members = {"models/float/model.onnx": build_tiny_onnx(size_px=size_px), "models/null/model.json": b'{"classes": 2}'}
    models = {"onnxruntime": "models/float/model.onnx", "openvino": "models/float/model.onnx"}
    variants, labels = [], Labels(classes=("bad", "ok"), defect_classes=("bad",))
    params = Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.5)
    for name in ("onnxruntime", "openvino", "null"):
        member = models.get(name, "models/null/model.json")
        backend, options = backends.get(name), LoadOptions(threads=1)
        with backend.load(backend.compile(members[member], options), options) as session:
            scores = TASK.scores(session.infer(tensors), labels, params).astype(np.float32)
        members[f"golden/{name}.npy"] = npy(scores)
        variants.append(
            manifest.VariantManifest(
                id=f"{name}-f32",
                backend=name,
                precision="f32",
                files={"model": member},
                options=manifest.VariantOptions(threads=1),
                params=params,
                golden=f"golden/{name}.npy",
                golden_tolerance=manifest.GoldenTolerance(max_abs=1e-3),
                golden_decisions=golden.decisions_of(TASK, scores, labels, params),
            )
        )
    members |= {f"golden/{index:03}.png": data for index, data in enumerate(images)}
    members["golden/tensors.npy"] = npy(tensors)
    return (
        manifest.Manifest(
            min_runtime="0.1.0",
            created="2026-01-01",
            edgetl_version="0.1.0",
            task="inspection",
            line="tiny",
            sequence=1,
            labels=labels,
            outputs=TASK.outputs(labels),
            preprocess=spec,
            variants=tuple(variants),
            chosen="onnxruntime-f32",
            golden=manifest.GoldenManifest(
                count=count,
                images=tuple(f"golden/{index:03}.png" for index in range(count)),
                tensors="golden/tensors.npy",
                tensor_sha256=golden.tensor_digest(tensors),
                licence="CC0-1.0",
            ),
            versions={"opencv": cv2.__version__},
        ),
        members,
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Leave why tests were skipped where `make test` collects it, see skips.py."""
    if "EDGETL_SKIPS" in os.environ:
        skipped = terminalreporter.stats.get("skipped", [])
        reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in skipped]
        Path(os.environ["EDGETL_SKIPS"]).write_text(json.dumps(reasons), encoding="utf-8")


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Noise floors and the lock on measuring are the tester's own: tests neither wait for them nor change them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state-home")))
        yield


@pytest.fixture
def planted_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder full of modules that nobody may import, first on the path of imports as `python -m` puts it.

    Each would end its process and leave a file in the folder that this returns.
    """
    folder, marks = tmp_path / "planted", tmp_path / "marks"
    for name in ("numpy", "cv2", "json", "runpy", "edgetl_runtime", "openvino", "tensorrt", "pip"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(
            f"import os; os.makedirs({str(marks)!r}, exist_ok=True); open({str(marks / name)!r}, 'w').close()\n"
            "raise SystemExit(9)\n"
        )
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), "", ".", *sys.path])
    return marks


@pytest.fixture(scope="session")
def tiny_onnx() -> Callable[..., bytes]:
    """Builder of tiny ONNX models: tiny_onnx(classes=2, size_px=16, seed=0)."""
    return build_tiny_onnx


@pytest.fixture(scope="session")
def tiny_parts() -> Callable[[], tuple[manifest.Manifest, dict[str, bytes]]]:
    """Factory of (manifest, members), fresh copies that a test may alter before writing."""
    made = tiny_contents()
    return lambda: (made[0], dict(made[1]))


@pytest.fixture(scope="session")
def tiny_bundle(
    tmp_path_factory: pytest.TempPathFactory, tiny_parts: Callable[[], tuple[manifest.Manifest, dict[str, bytes]]]
) -> Callable[..., Path]:
    """Factory of bundle files: tiny_bundle(**manifest_changes) -> Path of a new file."""

    def make(**changes: Any) -> Path:
        fields, members = tiny_parts()
        path = tmp_path_factory.mktemp("bundle") / "tiny.edgetl"
        write_bundle(path, dataclasses.replace(fields, **changes), members)
        return path

    return make


def build_conv_net(*, size_px: int = 24, classes: int = 4, seed: int = 0) -> bytes:
    """Return a mobile block in small: normalisation, conv, depthwise conv, projection, residual add, pool, Gemm."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return (rng.normal(0, 1, shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)

    constants = {
        "mean": np.full((1, 3, 1, 1), 127.5, np.float32),
        "scale": np.full((1, 3, 1, 1), 1 / 127.5, np.float32),
        "zero": np.float32(0),
        "six": np.float32(6),
        "stem_w": weights(8, 3, 3, 3),
        "depthwise_w": weights(8, 1, 3, 3),
        "project_w": weights(8, 8, 1, 1),
        "head_w": weights(classes, 8),
    }
    constants |= {name.replace("_w", "_b"): weights(len(constants[name]), 1)[:, 0] for name in list(constants)[4:]}
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["nchw", "mean"], ["centred"], "sub"),
        helper.make_node("Mul", ["centred", "scale"], ["normal"], "mul"),
        helper.make_node("Conv", ["normal", "stem_w", "stem_b"], ["stem"], "stem_conv", strides=[2, 2], **pads),
        helper.make_node("Clip", ["stem", "zero", "six"], ["stem_act"], "stem_clip"),
        helper.make_node("Conv", ["stem_act", "depthwise_w", "depthwise_b"], ["depth"], "depth_conv", group=8, **pads),
        helper.make_node("Clip", ["depth", "zero", "six"], ["depth_act"], "depth_clip"),
        helper.make_node("Conv", ["depth_act", "project_w", "project_b"], ["projected"], "project_conv"),
        helper.make_node("Add", ["projected", "stem_act"], ["residual"], "residual_add"),
        helper.make_node("Relu", ["residual"], ["out"], "relu"),
        helper.make_node("GlobalAveragePool", ["out"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["features"], "flatten"),
        helper.make_node("Gemm", ["features", "head_w", "head_b"], ["logits"], "head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "conv_net",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", size_px, size_px, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def conv_net() -> bytes:
    """A tiny float ONNX model with everything a quantizer must treat rightly."""
    return build_conv_net()


@pytest.fixture(scope="session")
def conv_net_images() -> np.ndarray:
    """48 smooth random images for `conv_net`, uint8 (48, 24, 24, 3)."""
    coarse = np.random.default_rng(1).integers(0, 256, (48, 4, 4, 3)).astype(np.uint8)
    return np.stack([cv2.resize(image, (24, 24), interpolation=cv2.INTER_LINEAR) for image in coarse])
