"""ONNX Runtime: every exception it can raise has a meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as state

from edgetl_runtime import backends
from edgetl_runtime.backends import onnxruntime as module
from edgetl_runtime.backends.base import Artifact, LoadOptions
from edgetl_runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_meanings_cover_every_exception_of_the_installed_version() -> None:
    kinds = {n for n in dir(state) if isinstance(k := getattr(state, n), type) and issubclass(k, BaseException)}
    assert kinds <= set(module.MEANINGS)
    assert {getattr(state, name) for name in kinds} <= set(backends.get("onnxruntime").errors())


def test_infer_translates_the_vendors_error(tiny_onnx: Callable[..., bytes]) -> None:
    session = backends.get("onnxruntime").load(Artifact(data=tiny_onnx()), LoadOptions(batch=None))
    session.input_px = None  # so that the wrong size reaches the vendor
    with pytest.raises(BackendError, match=r"the model in onnxruntime .* got InvalidArgument"):
        session.infer(np.zeros((1, 8, 8, 3), np.uint8))


def test_infer_after_close_is_an_error(tiny_onnx: Callable[..., bytes]) -> None:
    session = backends.get("onnxruntime").load(Artifact(data=tiny_onnx()), LoadOptions())
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.infer(np.zeros((1, 16, 16, 3), np.uint8))
