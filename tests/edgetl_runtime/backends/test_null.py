"""The null backend is deterministic and takes as long as it is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgetl_runtime import backends
from edgetl_runtime.backends.base import Artifact, BackendSession, LoadOptions
from edgetl_runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3).copy()


def load(model: bytes) -> BackendSession:
    return backends.get("null").load(Artifact(data=model), LoadOptions())


def test_logits_depend_on_pixels_and_seed_alone() -> None:
    first = load(b'{"classes": 3}').infer(IMAGES)["logits"]
    assert np.array_equal(first, load(b'{"classes": 3}').infer(IMAGES)["logits"])
    assert not np.array_equal(first, load(b'{"classes": 3, "seed": 1}').infer(IMAGES)["logits"])
    changed = IMAGES.copy()
    changed[2, 0, 0, 0] ^= 1
    again = load(b'{"classes": 3}').infer(changed)["logits"]
    assert (again != first).any(axis=1).tolist() == [
        False,
        False,
        True,
        False,
    ]
    assert first.min() >= -4
    assert first.max() < 4
    assert first.std() > 1


def test_latency_is_kept() -> None:
    session = load(b'{"classes": 2, "latency_ms": 5}')
    start = time.monotonic()
    for _ in range(10):
        session.infer(IMAGES[:1])
    assert time.monotonic() - start >= 0.05


def test_classes_come_from_an_onnx_model(tiny_onnx: Callable[..., bytes]) -> None:
    assert load(tiny_onnx(classes=7)).infer(IMAGES)["logits"].shape == (4, 7)


@pytest.mark.parametrize("model", [b"{", b'{"classes": "2"}', b'{"clases": 2}', b"{}"])
def test_load_refuses_a_bad_model(model: bytes) -> None:
    with pytest.raises(BackendError, match="the model of null"):
        load(model)
