"""Vendors' exceptions while quantizing, translated in one place."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import onnx
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from edgetl.errors import QuantizeError
from edgetl_runtime.errors import EdgetlError

if TYPE_CHECKING:
    from collections.abc import Iterator

ORT_ERRORS = (
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.ModelLoaded,
    ort_state.NoModel,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
GRAPH_ERRORS = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
PYTHON_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, AssertionError)


@contextlib.contextmanager
def translated(algorithm: str, *, more: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn what a quantization library raises inside the block into one QuantizeError.

    Args:
        algorithm: Named in the sentence.
        more: Exception classes of a library that is not always imported.
    """
    try:
        yield
    except EdgetlError:
        raise
    except (*ORT_ERRORS, *GRAPH_ERRORS, *PYTHON_ERRORS, *more) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        fix = "use another recipe, or keep this model in float"
        raise QuantizeError(f"the model for {algorithm}", "one it can quantize", reason, fix=fix) from error
