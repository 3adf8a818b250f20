"""Opening picks the right variant or says what is missing; deciding is the same for paths, bytes and arrays."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import pytest

import edgetl_runtime
from edgetl.deploy.bundle_writer import write_bundle
from edgetl.deploy.signing import new_key
from edgetl_runtime import backends, onnx_walk, preprocess, probe, session
from edgetl_runtime.backends.base import Artifact, Uninstalled
from edgetl_runtime.errors import BackendMissingError, BundleError, ImageError, ShapeError, UsageError
from edgetl_runtime.manifest import Requires
from edgetl_runtime.signature import TrustedKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl_runtime.manifest import Manifest

    Run = Callable[..., tuple[int, dict[str, Any]]]
    Parts = Callable[[], tuple[Manifest, dict[str, bytes]]]


@pytest.fixture(scope="module")
def path(tiny_bundle: Callable[..., Path]) -> Path:
    return tiny_bundle()


def is_open(path: Path) -> bool:
    """Say whether this process holds the file open; other files may come and go with the garbage collector."""
    found = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return any(os.path.realpath(link) == str(path.resolve()) for link in found)


def requiring(manifest: Manifest, variant_id: str, **requires: object) -> Manifest:
    variants = tuple(
        dataclasses.replace(v, requires=Requires(**requires)) if v.id == variant_id else v  # type: ignore[arg-type]
        for v in manifest.variants
    )
    return dataclasses.replace(manifest, variants=variants)


def test_open_is_public_and_takes_the_chosen_variant(path: Path) -> None:
    with edgetl_runtime.open(path) as opened:
        assert isinstance(opened, edgetl_runtime.Session)
        assert opened.variant.id == opened.manifest.chosen == "onnxruntime-f32"


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "null"])
def test_predict_is_equal_for_path_bytes_and_array(backend: str, path: Path, tmp_path: Path) -> None:
    with edgetl_runtime.open(path, backend=backend) as opened:
        data = opened.bundle.read("golden/003.png")
        (tmp_path / "part.png").write_bytes(data)
        array = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        decisions = [
            opened.predict(image) for image in (data, tmp_path / "part.png", str(tmp_path / "part.png"), array)
        ]
        expected = opened.bundle.array(opened.variant.golden)[3]
        scores = [list(d.scores.values()) for d in decisions]
        assert np.abs(np.array(scores) - expected).max() < 1e-6
        assert len({(d.label, d.verdict, d.defect_score) for d in decisions}) == 1


def test_the_first_decisions_of_a_process_may_come_from_several_threads(path: Path) -> None:
    """What is imported when it is needed is then imported by all of them at once."""
    script = (
        "import sys, threading, edgetl_runtime\n"
        "session = edgetl_runtime.open(sys.argv[1], backend='null')\n"
        "image = session.bundle.read('golden/000.png'); begin = threading.Barrier(4); found = []\n"
        "def work(): begin.wait(); found.append(session.predict(image).verdict)\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "assert len(found) == 4 and len(set(found)) == 1, found\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_predict_times_every_part(path: Path) -> None:
    with edgetl_runtime.open(path, backend="null") as opened:
        timings = opened.predict(opened.bundle.read("golden/000.png")).timings_ms
    assert list(timings) == ["decode", "preprocess", "infer", "postprocess", "total"]
    assert timings["total"] == pytest.approx(sum(v for k, v in timings.items() if k != "total"))
    assert min(timings.values()) > 0


def test_tensor_honours_the_declared_colour_order(tiny_bundle: Callable[..., Path]) -> None:
    spec = preprocess.PreprocessSpec(width_px=16, height_px=16, colour="bgr")
    with edgetl_runtime.open(tiny_bundle(preprocess=spec), backend="null") as opened:
        red = np.zeros((16, 16, 3), np.uint8)
        red[..., 2] = 255  # a BGR frame
        encoded = cv2.imencode(".png", red)[1].tobytes()
        assert opened.tensor(red)[0, 0].tolist() == opened.tensor(encoded)[0, 0].tolist() == [255, 0, 0]
        assert opened.predict(red).scores == opened.predict(encoded).scores


def test_infer_gives_float32_logits_of_any_batch(path: Path) -> None:
    with edgetl_runtime.open(path) as opened:
        tensors = opened.bundle.array("golden/tensors.npy")
        assert opened.infer(tensors)["logits"].shape == (16, 2)
        assert opened.infer(tensors)["logits"].dtype == np.float32
        assert np.array_equal(opened.infer(tensors)["logits"][5:6], opened.infer(tensors[5:6])["logits"])
        with pytest.raises(ShapeError, match=r"\(N, 16, 16, 3\) uint8"):
            opened.infer(tensors[0])


def test_predict_refuses_what_is_not_an_image(path: Path, tmp_path: Path) -> None:
    with edgetl_runtime.open(path, backend="null") as opened:
        for image in (
            b"",
            b"not an image",
            tmp_path / "absent.png",
            np.zeros((4, 4, 3), np.float32),
            np.zeros(5, np.uint8),
        ):
            with pytest.raises(ImageError):
                opened.predict(image)


def test_pick_takes_variant_and_backend(path: Path) -> None:
    with edgetl_runtime.open(path, variant="null-f32") as opened:
        manifest = opened.manifest
    assert opened.variant.id == "null-f32"
    with pytest.raises(UsageError, match=r"(?s)--variant .*'null-f32' or"):
        session.pick(manifest, variant="nul-f32")
    with pytest.raises(UsageError, match=r"(?s)--backend .*got 'openvin'.*'openvino' instead"):
        session.pick(manifest, backend="openvin")
    with pytest.raises(UsageError, match="--backend"):
        session.pick(manifest, variant="null-f32", backend="openvino")


def test_open_names_the_install_command_where_the_backend_is_missing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    absent = Uninstalled("the package onnxruntime is absent")  # words decide nothing
    monkeypatch.setattr(type(backends.get("onnxruntime")), "uninstalled", lambda _: absent)
    with pytest.raises(BackendMissingError, match=r'pip install "edgetl-runtime\[onnxruntime\]"'):
        edgetl_runtime.open(path)
    assert not is_open(path)
    with caplog.at_level(logging.WARNING), edgetl_runtime.open(path, allow_fallback=True) as opened:
        assert opened.variant.id == "openvino-f32"
    assert "running openvino-f32 instead" in caplog.text


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        ({"cpu_flags": ("made_up|other",)}, "the CPU lacks made_up|other"),
        ({"arch": ("riscv64",)}, "it needs riscv64"),
        ({"min_version": "99.0"}, "is older than 99.0"),
    ],
)
def test_open_refuses_a_variant_whose_requirements_are_not_met(
    requires: dict[str, object], words: str, path: Path
) -> None:
    with edgetl_runtime.open(path, backend="null") as opened:
        manifest = requiring(opened.manifest, "onnxruntime-f32", **requires)
    with pytest.raises(BackendMissingError, match=words):
        session.pick(manifest)
    assert session.pick(manifest, allow_fallback=True).id == "openvino-f32"


def test_unfit_accepts_requirements_that_are_met(path: Path) -> None:
    with edgetl_runtime.open(path, backend="null") as opened:
        flags = probe.cpu_flags()[:1]
        manifest = requiring(
            opened.manifest, "onnxruntime-f32", cpu_flags=flags, arch=(probe.arch(),), min_version="1.0"
        )
    assert session.unfit(manifest.variant("onnxruntime-f32")) is None


def test_unfit_names_a_backend_from_the_future(path: Path) -> None:
    with edgetl_runtime.open(path, backend="null") as opened:
        variant = dataclasses.replace(opened.variant, backend="tensorrt_next")
        manifest = dataclasses.replace(opened.manifest, variants=(variant,), chosen=variant.id)
    assert session.unfit(variant) == "this edgetl-runtime has no backend tensorrt_next"
    with pytest.raises(BackendMissingError, match="pip install -U edgetl-runtime"):
        session.pick(manifest)


def test_pick_offers_another_variant_where_installing_would_not_help(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with edgetl_runtime.open(path, backend="null") as opened:
        manifest = opened.manifest
    reason = "the installed driver is too old"
    monkeypatch.setattr(type(backends.get("onnxruntime")), "available", lambda *_: reason)
    with pytest.raises(BackendMissingError) as caught:
        session.pick(manifest)
    assert (caught.value.got, caught.value.fix) == (reason, "--variant openvino-f32")


def test_load_refuses_a_model_whose_format_the_backend_does_not_read(path: Path) -> None:
    with edgetl_runtime.open(path, backend="null") as opened:
        variant = dataclasses.replace(
            opened.manifest.variant("onnxruntime-f32"), files={"model": "models/null/model.json"}
        )
        with pytest.raises(BundleError, match="must be a model in onnx; got one in json"):
            session.load(opened.bundle, variant)


def test_load_options_always_say_the_precision(path: Path) -> None:
    with edgetl_runtime.open(path, backend="null") as opened:
        variant, manifest = opened.variant, opened.manifest
    for precision, said in (("f32", "f32"), ("int8", "f32"), ("bf16", "bf16")):
        options = session.load_options(manifest, dataclasses.replace(variant, precision=precision))
        assert (options.precision, options.outputs) == (said, ("logits",))


@pytest.fixture
def outward_model(
    tiny_parts: Parts, tiny_onnx: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Path]:
    """Write a bundle whose model has its weights in the folder that commands are called in."""
    model = onnx.load_from_string(tiny_onnx())
    weights = model.graph.initializer[2]
    (tmp_path / "weights.data").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.data")
    monkeypatch.chdir(tmp_path)

    def write(backend: str, member: str) -> Path:
        fields, members = tiny_parts()
        variant = dataclasses.replace(fields.variant(f"{backend}-f32"), files={"model": member})
        fields = dataclasses.replace(fields, variants=(variant,), chosen=variant.id)
        with monkeypatch.context() as careless:
            careless.setattr(onnx_walk, "check", lambda *_, **__: None)
            write_bundle(tmp_path / "x.edgetl", fields, {**members, member: model.SerializeToString()})
        (tmp_path / "part.png").write_bytes(members["golden/000.png"])
        return tmp_path / "x.edgetl"

    return write


@pytest.mark.parametrize("member", ["onnx", "model.ONNX", "model.onnx.", "models/x/onnx", "weights.bin", "model.json"])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "null"])
def test_what_a_variant_calls_its_model_is_walked_whatever_its_name(
    backend: str, member: str, outward_model: Callable[[str, str], Path], run: Run
) -> None:
    bundle = str(outward_model(backend, member))
    words = f"model '{member}' must be without external data; got some in TensorProto."
    for command in (["predict", bundle, "part.png"], ["verify", bundle], ["build", bundle], ["unpack", bundle, "out"]):
        code, found = run(*command)
        assert (code, found["error"]["message"]) == (1, words), command


def test_a_model_is_what_its_bytes_are(tiny_parts: Parts, tmp_path: Path, run: Run) -> None:
    """One member for two backends: JSON is a model for the one that reads it, and never reaches another's library."""
    fields, members = tiny_parts()
    shared = tuple(dataclasses.replace(v, files={"model": "onnx"}) for v in fields.variants)
    bundle, image = tmp_path / "x.edgetl", tmp_path / "part.png"
    write_bundle(bundle, dataclasses.replace(fields, variants=shared), {**members, "onnx": b'{"classes": 2}'})
    image.write_bytes(members["golden/000.png"])
    assert run("predict", str(bundle), str(image), "--backend", "null")[0] == 0
    for backend in ("onnxruntime", "openvino"):
        for command in (["predict", str(bundle), str(image), "--backend", backend], ["build", str(bundle)]):
            code, found = run(*command)
            assert (code, found["error"]["type"]) == (1, "BundleError")
            assert "-f32 must be a model in onnx; got one in json." in found["error"]["message"]


def test_an_embedded_engine_is_loaded_only_from_a_verified_bundle(
    tiny_parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fields, members = tiny_parts()
    null = fields.variant("null-f32")
    with_engine = dataclasses.replace(
        null, files={**null.files, "engine": "models/null/engine.plan"}, evidence={"engine": {"compiler": "x"}}
    )
    fields = dataclasses.replace(fields, variants=(with_engine,), chosen="null-f32")
    file = tmp_path / "engine.edgetl"
    used = {name: members[name] for name in members if "onnx" not in name and "openvino" not in name}
    write_bundle(file, fields, {**used, "models/null/engine.plan": b'{"classes": 5}'})
    taken = []

    def adopt(engine: bytes, about: dict[str, str]) -> Artifact | None:
        taken.append((engine, about))
        return Artifact(data=engine)

    monkeypatch.setattr(backends.get("null"), "adopt", adopt)
    image = np.zeros((1, 16, 16, 3), np.uint8)
    with caplog.at_level(logging.WARNING), edgetl_runtime.open(file) as opened:
        assert opened.infer(image)["logits"].shape == (1, 2)
        assert taken == []
        assert "the engine of null-f32 is not loaded: nobody verified the bundle's signature" in caplog.text
        opened.bundle.signed_by = TrustedKey(pem=new_key(tmp_path / "line.key").pem)
        with session.load(opened.bundle, with_engine) as model:
            assert model.infer(image)["logits"].shape == (1, 5)
    assert taken == [(b'{"classes": 5}', {"compiler": "x"})]
