"""Activations that a Q/DQ pair does by itself: where it saturates within their bounds they compute nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgetl.quantize import graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

SATURATING_OPS = ("Clip", "Relu")
ROUNDING = 1e-6  # relative; a scale is a float32


def drop_saturated(model: ModelProto) -> None:
    """Take out the activations of a quantized model, in place, that its Q/DQ pairs do as well.

    ReLU6 before a pair that ends at 5.2 is the pair alone. OpenVINO sees that by itself only where both end at the
    same number; elsewhere it computes both, which cost an eighth of a network's time.

    Args:
        model: Its QuantizeLinear nodes have constant scales and zero points.
    """
    constants = graph.initializers(model)
    consumers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    outputs = {output.name for output in model.graph.output}
    for node in [n for n in model.graph.node if n.op_type in SATURATING_OPS]:
        readers = consumers.get(node.output[0], [])
        bounds = _bounds(node, constants)
        if bounds is None or not readers or node.output[0] in outputs:
            continue
        if all(reader.op_type == "QuantizeLinear" and _within(reader, bounds, constants) for reader in readers):
            for reader in readers:
                reader.input[0] = node.input[0]
            model.graph.node.remove(node)


def _bounds(node: NodeProto, constants: Mapping[str, NDArray[np.generic]]) -> tuple[float, float] | None:
    """Return what an activation saturates at; None where a bound is not a constant."""
    low, high = (0.0, np.inf) if node.op_type == "Relu" else (-np.inf, np.inf)
    for place, name in enumerate(node.input[1:]):
        if not name:
            continue
        if name not in constants:
            return None
        value = float(constants[name].reshape(-1)[0])
        low, high = (value, high) if place == 0 else (low, value)
    return low, high


def _within(quantize: NodeProto, bounds: tuple[float, float], constants: Mapping[str, NDArray[np.generic]]) -> bool:
    """Say whether a QuantizeLinear of one scale saturates within the bounds."""
    known = [constants.get(name) for name in quantize.input[1:3]]
    if len(known) != 2 or any(one is None or one.size != 1 for one in known):
        return False
    scale, zero = (one.reshape(-1)[0] for one in known if one is not None)
    held = np.iinfo(zero.dtype)
    low, high = ((int(end) - int(zero)) * float(scale) for end in (held.min, held.max))
    room = ROUNDING * float(scale) * (held.max - held.min)
    return low >= bounds[0] - room and high <= bounds[1] + room
