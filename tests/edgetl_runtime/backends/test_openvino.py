"""OpenVINO: what it is told, and what it says when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgetl_runtime import backends
from edgetl_runtime.backends.base import Artifact, LoadOptions
from edgetl_runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgetl_runtime.backends.openvino import OpenVinoSession


def load(model: bytes, cache_dir: Path | None = None, **options: object) -> OpenVinoSession:
    chosen = LoadOptions(**options)  # type: ignore[arg-type]
    return backends.get("openvino").load(Artifact(data=model, cache_dir=cache_dir), chosen)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"threads": 1}, {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}),
        ({"precision": "f32"}, {"INFERENCE_PRECISION_HINT": "float32"}),
        ({"hint": "throughput"}, {"PERFORMANCE_HINT": "THROUGHPUT"}),
    ],
)
def test_load_sets_properties(
    options: dict[str, object], expected: dict[str, object], tiny_onnx: Callable[..., bytes]
) -> None:
    compiled = load(tiny_onnx(), **options)._compiled
    for name, value in expected.items():
        found = compiled.get_property(name)
        word = getattr(found, "get_type_name", lambda found=found: getattr(found, "name", found))()
        assert {"f32": "float32"}.get(word, word) == value, name


def test_load_keeps_compiled_code_in_the_cache_dir(tiny_onnx: Callable[..., bytes], tmp_path: Path) -> None:
    image = np.full((1, 16, 16, 3), 77, np.uint8)
    first = load(tiny_onnx(), tmp_path).infer(image)["logits"]
    assert list(tmp_path.iterdir())
    assert np.array_equal(load(tiny_onnx(), tmp_path).infer(image)["logits"], first)


def test_infer_after_close_is_an_error(tiny_onnx: Callable[..., bytes]) -> None:
    session = load(tiny_onnx())
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.infer(np.zeros((1, 16, 16, 3), np.uint8))


def test_infer_many_lets_the_producer_reuse_its_buffer(tiny_onnx: Callable[..., bytes]) -> None:
    def produce() -> object:
        buffer = np.empty((2, 16, 16, 3), np.uint8)
        for value in range(0, 200, 20):
            buffer[:] = value
            yield buffer

    with load(tiny_onnx(), hint="throughput", batch=2) as session:
        found = list(session.infer_many(produce()))  # type: ignore[arg-type]
        for value, logits in zip(range(0, 200, 20), found, strict=True):
            assert (
                np.abs(logits["logits"] - session.infer(np.full((2, 16, 16, 3), value, np.uint8))["logits"]).max()
                < 1e-5
            )
