"""A backend that needs nothing: deterministic outputs from a digest of the pixels, with a latency to choose.

It reads `{"classes": 2, "latency_ms": 0, "seed": 0}` (JSON), where `"outputs": {"map": [4, 4]}` gives further outputs,
or an ONNX model of which it only takes the outputs' names and sizes. The whole path from fine-tuning to bench runs with
it in tests, and it stands in where no vendor's library is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from edgetl_runtime import onnx_walk
from edgetl_runtime.backends import base
from edgetl_runtime.errors import BackendError
from edgetl_runtime.schema import from_json, from_mapping

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NullModel:
    """The model of the null backend.

    Attributes:
        classes: Number of logits; 0 for none.
        outputs: Name → sizes for each image, of further outputs.
        latency_ms: Time that every inference takes, spent spinning because sleeping is too coarse.
        seed: Different seeds give different logits.
    """

    classes: int = 0
    outputs: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    latency_ms: float = 0.0
    seed: int = 0


class NullSession(base.BackendSession):
    """Computes outputs in [-4, 4) from a digest of each image."""

    def __init__(self, model: NullModel, wanted: tuple[str, ...]) -> None:
        sizes = ({"logits": (model.classes,)} if model.classes else {}) | model.outputs
        self._sizes = {name: sizes[name] for name in wanted if name in sizes}
        super().__init__(backend="null", errors={}, outputs=tuple(self._sizes))
        self.model = model

    def _infer(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        until_ns = time.monotonic_ns() + round(self.model.latency_ms * 1e6)
        outputs = {
            name: np.stack([self._output(name, image, sizes) for image in batch]) for name, sizes in self._sizes.items()
        }
        while time.monotonic_ns() < until_ns:
            pass
        return outputs

    def _output(self, name: str, image: NDArray[np.uint8], sizes: tuple[int, ...]) -> NDArray[np.float32]:
        key = self.model.seed.to_bytes(8, "little", signed=True) + (b"" if name == "logits" else name.encode())
        digest = hashlib.shake_128(key + np.ascontiguousarray(image).tobytes()).digest(4 * math.prod(sizes))
        values: NDArray[np.float32] = (np.frombuffer(digest, "<u4") / np.float64(2**29) - 4).astype(np.float32)
        return values.reshape(sizes)


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

    def compile(self, model: bytes, options: base.LoadOptions, cache_dir: Path | None = None) -> base.Artifact:
        """Return the model as it is: it is not computed."""
        return base.Artifact(data=model, cache_dir=cache_dir)

    def _load(self, artifact: base.Artifact, options: base.LoadOptions) -> NullSession:
        if artifact.data[:1] == b"{":
            return NullSession(self._from_json(artifact.data), options.outputs)
        found = onnx_walk.check(artifact.data, name="the model").outputs
        sizes = {name: tuple(n for n in shape[1:] if isinstance(n, int)) for name, shape in found.items()}
        free = [name for name, shape in found.items() if len(sizes[name]) != len(shape) - 1]
        if free:
            raise BackendError("the model's outputs", "of fixed sizes", f"{found[free[0]]}", fix="export it again")
        return NullSession(NullModel(outputs=sizes), options.outputs)

    def _from_json(self, data: bytes) -> NullModel:
        mapping = from_json(data, where="the model of null", error=BackendError, fix="export it again")
        model = from_mapping(NullModel, mapping, where="the model of null", error=BackendError)
        if not (model.classes or model.outputs):
            raise BackendError("the model of null", "one with classes or outputs", "none", fix="export it again")
        return model
