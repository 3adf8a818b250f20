"""Weights and compute in float16, by explicit casts; input and outputs keep their types.

TensorRT 11 builds strongly typed networks only, so the precision lives in the graph. The normalisation stays float32:
its constants are in grey levels and cost nothing.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING

import numpy as np
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgetl.errors import QuantizeError
from edgetl.quantize import graph
from edgetl.quantize.vendor import translated

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

USES_IMAGES = False
LARGEST = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """There is nothing to choose: which nodes stay float32 is `exclude`."""


def quantize(
    model: bytes,
    calibration: NDArray[np.uint8],
    *,
    parameters: Parameters,
    exclude: tuple[str, ...],
) -> bytes:
    """Convert to float16; see the package docstring.

    Raises:
        QuantizeError: A weight is larger than float16 can hold.
    """
    return graph.to_bytes(converted(graph.load(model), exclude, algorithm="float16"))


def converted(proto: ModelProto, exclude: tuple[str, ...], *, algorithm: str) -> ModelProto:
    """Return the graph with its float tensors in float16, those of `exclude` and the outputs apart.

    Args:
        proto: Float or quantized; may be changed.
        exclude: Names of nodes that stay float32.
        algorithm: Named in errors.

    Raises:
        QuantizeError: A weight is larger than float16 can hold.
    """
    _check_range(proto, exclude)
    with translated(algorithm), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*float16.*|.*truncated.*")  # weights below 6e-8 are rounded up
        made: ModelProto = convert_float_to_float16(proto, keep_io_types=True, node_block_list=list(exclude))
    _drop_round_trips(made, exclude)
    return made


def _drop_round_trips(proto: ModelProto, exclude: tuple[str, ...]) -> None:
    """Connect neighbouring float32 nodes directly: the library casts to float16 and back between them."""
    producers = graph.producer_of(proto)
    shortcut: dict[str, str] = {}
    for node in proto.graph.node:
        down = producers.get(node.input[0]) if node.op_type == "Cast" and node.name not in exclude else None
        origin = producers.get(down.input[0]) if down is not None and down.op_type == "Cast" else None
        if down is not None and origin is not None and origin.name in exclude and down.name not in exclude:
            shortcut[node.output[0]] = down.input[0]
    for node in proto.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = shortcut.get(name, name)


def _check_range(proto: ModelProto, exclude: tuple[str, ...]) -> None:
    needed = {name for node in proto.graph.node if node.name not in exclude for name in node.input}
    for name, values in graph.initializers(proto).items():
        largest = float(np.abs(values).max(initial=0)) if values.dtype == np.float32 and name in needed else 0.0
        if not largest <= LARGEST:
            fix = "deploy this model in float32 or int8"
            raise QuantizeError(f"weight '{name}'", f"at most {LARGEST:.0f} for float16", f"{largest:g}", fix=fix)
