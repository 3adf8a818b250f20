"""What every backend must do; a new file in `edgetl_runtime/backends/` is found here by itself.

A backend whose package this machine lacks is skipped with the reason, except for what is known without it.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgetl_runtime import backends
from edgetl_runtime.backends.base import BackendSession, LoadOptions
from edgetl_runtime.errors import BackendError, BundleError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIZE_PX = 16
# backends that do not compute the model's logits, with the reason
NOT_NUMERIC = {"null": "its logits are a digest of the pixels, by design"}
# backends whose model has no fixed input size to refuse, with the reason
ANY_SIZE = {"null": "it digests arrays of any size"}
# backends whose own package the extra cannot install, with the reason
COMES_WITH_THE_SYSTEM = {"tensorrt": "JetPack installs it; the extra adds the calls into the driver"}


@pytest.fixture(params=backends.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def usable(name: str) -> str:
    reason = backends.get(name).available()
    if reason is not None:
        pytest.skip(reason)
    return name


def batch(count: int, *, size_px: int = SIZE_PX, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size_px, size_px, 3), np.uint8)


def load(name: str, model: bytes, cache_dir: Path | None = None, **options: Any) -> BackendSession:
    backend, chosen = backends.get(name), LoadOptions(threads=1, **options)
    return backend.load(backend.compile(model, chosen, cache_dir), chosen)


def test_info_names_the_file_and_is_complete(name: str) -> None:
    info = backends.get(name).info
    assert info.name == name
    assert bool(info.package) == bool(info.module)
    assert info.precisions
    assert set(info.precisions) <= {"f32", "bf16", "f16", "int8"}
    assert info.runs_on
    assert set(info.runs_on) <= {"x86_64", "aarch64"}
    assert "onnx" in info.formats


def test_info_names_an_extra_of_the_runtime(name: str) -> None:
    info = backends.get(name).info
    project = tomllib.loads((Path(__file__).parents[2] / "runtimes" / "pyproject.toml").read_text())["project"]
    if not info.package:
        assert name not in project["optional-dependencies"]
        return
    extra = name.replace("_", "-")
    packages = {re.split(r"[<>=!~; ]", words)[0] for words in project["optional-dependencies"][extra]}
    assert info.package in packages or name in COMES_WITH_THE_SYSTEM
    assert info.install.endswith(f'pip install "edgetl-runtime[{extra}]"')


def test_available_is_none_or_one_clause(name: str) -> None:
    reason = backends.get(name).available()
    assert reason is None or ("\n" not in reason and not reason.endswith("."))
    assert platform.machine() in backends.get(name).info.runs_on or "does not run on" in str(reason)


def test_asking_about_a_backend_does_not_load_its_library(name: str) -> None:
    code = (
        f"import sys; from edgetl_runtime import backends; b = backends.get({name!r}); b.available(); print('loaded', "
    )
    code += "b.info.module in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "loaded False\n"


def test_infer_computes_the_models_logits(usable: str, tiny_onnx: Callable[..., bytes], conv_net: bytes) -> None:
    if usable in NOT_NUMERIC:
        pytest.skip(NOT_NUMERIC[usable])
    for model, size_px in ((tiny_onnx(classes=5), SIZE_PX), (conv_net, 24)):
        images = batch(6, size_px=size_px)
        expected = ReferenceEvaluator(onnx.load_from_string(model)).run(["logits"], {"image": images})[0]
        with load(usable, model) as session:
            found = session.infer(images)["logits"]
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def two_headed(one_headed: bytes, node: onnx.NodeProto, *, sizes: list[int], constant: list[int]) -> bytes:
    """Return a tiny model with a second output, map, that one node makes of the tensor `normal`."""
    model = onnx.load_from_string(one_headed)
    model.graph.initializer.append(numpy_helper.from_array(np.array(constant, np.int64), "constant"))
    model.graph.node.append(node)
    model.graph.output.append(helper.make_tensor_value_info("map", onnx.TensorProto.FLOAT, ["N", *sizes]))
    return bytes(model.SerializeToString())


@pytest.fixture
def mapped(tiny_onnx: Callable[..., bytes]) -> bytes:
    node = helper.make_node("ReduceMax", ["normal", "constant"], ["map"], keepdims=0)
    return two_headed(tiny_onnx(), node, sizes=[SIZE_PX, SIZE_PX], constant=[1])


@pytest.fixture
def half_broken(tiny_onnx: Callable[..., bytes]) -> bytes:
    """A model whose second output cannot be computed: no image has 35 values."""
    node = helper.make_node("Reshape", ["normal", "constant"], ["map"])
    return two_headed(tiny_onnx(), node, sizes=[7], constant=[5, 7])


@pytest.mark.parametrize("wanted", [("logits",), ("map",), ("logits", "map"), ("map", "logits")])
@pytest.mark.parametrize("count", [1, 3])
def test_infer_gives_the_outputs_that_were_asked_for(
    usable: str, wanted: tuple[str, ...], count: int, mapped: bytes
) -> None:
    model, images = mapped, batch(count)
    with load(usable, model, outputs=wanted) as session:
        found = session.infer(images)
        many = next(iter(session.infer_many([images])))
    assert set(found) == set(many) == set(session.outputs) == set(wanted)
    expected = dict(
        zip(wanted, ReferenceEvaluator(onnx.load_from_string(model)).run(list(wanted), {"image": images}), strict=True)
    )
    for name in wanted:
        assert found[name].dtype == np.float32
        assert found[name].shape == many[name].shape == expected[name].shape
        if usable not in NOT_NUMERIC:
            assert np.abs(found[name] - expected[name]).max() <= 1e-4 * np.abs(expected[name]).max()


def test_infer_computes_nothing_that_only_other_outputs_need(usable: str, half_broken: bytes) -> None:
    with load(usable, half_broken) as session:
        assert session.infer(batch(1))["logits"].shape == (1, 2)
    if usable in NOT_NUMERIC:
        return
    with pytest.raises(BackendError), load(usable, half_broken, outputs=("map",)) as session:  # else it proves nothing
        session.infer(batch(1))


def test_load_refuses_an_output_that_the_model_lacks(usable: str, tiny_onnx: Callable[..., bytes]) -> None:
    with pytest.raises((BackendError, BundleError), match=r"(?s)features.*logits"):
        load(usable, tiny_onnx(), outputs=("logits", "features"))


def test_infer_gives_the_same_logits_again_and_in_another_session(usable: str, conv_net: bytes) -> None:
    images = batch(3, size_px=24)
    with load(usable, conv_net) as first, load(usable, conv_net) as second:
        logits = first.infer(images)["logits"]
        assert np.array_equal(logits, first.infer(images)["logits"])
        assert np.array_equal(logits, second.infer(images)["logits"])


@pytest.mark.parametrize("fixed", [1, 4, None])
def test_infer_is_equal_for_every_batch(usable: str, fixed: int | None, tiny_onnx: Callable[..., bytes]) -> None:
    images = batch(7)
    with load(usable, tiny_onnx(classes=3), batch=fixed) as session:
        whole = session.infer(images)["logits"]
        single = np.concatenate([session.infer(images[i : i + 1])["logits"] for i in range(7)])
    assert whole.shape == (7, 3)
    assert whole.dtype == np.float32
    assert np.abs(whole - single).max() < 1e-5


def test_infer_takes_views_and_leaves_its_input_alone(usable: str, tiny_onnx: Callable[..., bytes]) -> None:
    wide = batch(8, size_px=2 * SIZE_PX)
    view = wide[::2, :SIZE_PX, ::-2]
    before = view.copy()
    with load(usable, tiny_onnx(), batch=4) as session:
        assert np.array_equal(session.infer(view)["logits"], session.infer(before)["logits"])
    assert np.array_equal(view, before)


def test_infer_does_not_overwrite_what_it_returned(usable: str, tiny_onnx: Callable[..., bytes]) -> None:
    with load(usable, tiny_onnx()) as session:
        first = session.infer(batch(1))["logits"]
        kept = first.copy()
        session.infer(batch(1, seed=1))
        assert np.array_equal(first, kept)


@pytest.mark.parametrize("fixed", [4, None])
def test_infer_many_keeps_the_order(usable: str, fixed: int | None, tiny_onnx: Callable[..., bytes]) -> None:
    batches = [batch(4, seed=i) for i in range(9)] + [batch(2, seed=99)]
    with load(usable, tiny_onnx(), batch=fixed, hint="throughput") as session:
        expected = [session.infer(b)["logits"] for b in batches]
        found = [outputs["logits"] for outputs in session.infer_many(iter(batches))]
    assert [len(f) for f in found] == [4] * 9 + [2]
    assert max(np.abs(f - e).max() for f, e in zip(found, expected, strict=True)) < 1e-5


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (batch(1)[0], "got shape (16, 16, 3) uint8"),
        (batch(1).astype(np.float32), "got shape (1, 16, 16, 3) float32"),
        (batch(1)[..., :1], "got shape (1, 16, 16, 1) uint8"),
        (batch(0), "got shape (0, 16, 16, 3) uint8"),
        ([[1]], "got list"),
        (batch(1, size_px=8), "got shape (1, 8, 8, 3) uint8"),
    ],
)
def test_infer_refuses_other_shapes_and_types(
    usable: str, wrong: Any, got: str, tiny_onnx: Callable[..., bytes]
) -> None:
    if usable in ANY_SIZE and "8, 8" in got:
        pytest.skip(ANY_SIZE[usable])
    with load(usable, tiny_onnx()) as session, pytest.raises(ShapeError) as caught:
        session.infer(wrong)
    assert re.match(r"the batch must be of shape \(N, (16, 16|height, width), 3\) uint8; ", str(caught.value))
    assert got in str(caught.value)


@pytest.mark.parametrize("model", [b"", b"rubbish", b"\x08\x0a"])
def test_load_translates_the_vendors_refusal(usable: str, model: bytes) -> None:
    with pytest.raises((BackendError, ValueError), match="must be"):
        load(usable, model)


def test_compile_keeps_results_with_a_cache(usable: str, conv_net: bytes, tmp_path: Path) -> None:
    images = batch(2, size_px=24)
    with load(usable, conv_net) as plain:
        expected = plain.infer(images)["logits"]
    for _ in range(2):
        with load(usable, conv_net, tmp_path) as cached:
            assert np.array_equal(cached.infer(images)["logits"], expected)


def test_close_twice_is_harmless(usable: str, tiny_onnx: Callable[..., bytes]) -> None:
    session = load(usable, tiny_onnx())
    session.close()
    session.close()


def test_written_reasons_name_backends() -> None:
    assert NOT_NUMERIC.keys() | ANY_SIZE.keys() | COMES_WITH_THE_SYSTEM.keys() <= set(backends.names())
