"""A backend that needs nothing: deterministic logits from a digest of the pixels, with a latency to choose.

It reads `{"classes": 2, "latency_ms": 0, "seed": 0}` (JSON), or an ONNX model of which it only takes the number of
classes. The whole path from fine-tuning to bench runs with it in tests, and it stands in where no vendor's library is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import TYPE_CHECKING

import numpy as np

from edgetl_runtime.backends import base
from edgetl_runtime.errors import BackendError
from edgetl_runtime.schema import from_json, from_mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NullModel:
    """The model of the null backend.

    Attributes:
        classes: Number of logits.
        latency_ms: Time that every inference takes, spent spinning because sleeping is too coarse.
        seed: Different seeds give different logits.
    """

    classes: int
    latency_ms: float = 0.0
    seed: int = 0


class NullSession(base.BackendSession):
    """Computes logits in [-4, 4) from a digest of each image."""

    def __init__(self, model: NullModel) -> None:
        super().__init__(backend="null", errors={})
        self.model = model

    def _infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        until_ns = time.monotonic_ns() + round(self.model.latency_ms * 1e6)
        logits = np.stack([self._logits(image) for image in batch])
        while time.monotonic_ns() < until_ns:
            pass
        return logits

    def _logits(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        key = self.model.seed.to_bytes(8, "little", signed=True)
        digest = hashlib.shake_128(key + np.ascontiguousarray(image).tobytes()).digest(4 * self.model.classes)
        logits: NDArray[np.float32] = (np.frombuffer(digest, "<u4") / np.float64(2**29) - 4).astype(np.float32)
        return logits


class Backend(base.Backend):
    """The null backend."""

    info = base.BackendInfo(
        name="null",
        package="",
        module="",
        precisions=("f32", "bf16", "f16", "int8"),
        formats=("json", "onnx"),
    )

    def available(self, facts: object = None) -> str | None:
        """Return None: it runs everywhere."""
        return None

    def errors(self) -> base.ErrorTable:
        """Return an empty table: there is no vendor."""
        return {}

    def _load(self, artifact: base.Artifact, options: base.LoadOptions) -> NullSession:
        if artifact.data[:1] == b"{":
            return NullSession(self._from_json(artifact.data))
        from edgetl_runtime import onnx_walk

        shape = onnx_walk.check(artifact.data, name="the model").outputs.get("logits", ())
        if len(shape) != 2 or not isinstance(shape[1], int):
            raise BackendError("the model", "of one output logits (N, C)", f"shape {shape}", fix="export it again")
        return NullSession(NullModel(classes=shape[1]))

    def _from_json(self, data: bytes) -> NullModel:
        mapping = from_json(data, where="the model of null", error=BackendError, fix="export it again")
        return from_mapping(NullModel, mapping, where="the model of null", error=BackendError)
