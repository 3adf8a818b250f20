"""How much each layer's quantization hurts, alone: what mixed precision keeps in float first."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from edgetl.quantize import graph, mixed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from onnx import ModelProto

    Infer = Callable[[bytes, NDArray[np.uint8]], NDArray[np.float32]]

KERNEL = "_kernel_time"
LEAST_SHARE = 0.002  # below this the cost of a layer in float is that of the conversions around it


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerDamage:
    """What one layer does to the answers when it alone is quantized.

    Attributes:
        layer: Name of its node.
        nodes: Those that are quantized with it.
        damage: Root mean square of the error of the logits, their common shift left out.
        decisions: Share of the calibration images whose label changes, 0 to 1.
        time_share: Of the computing time of all layers in float, 0 to 1.
    """

    layer: str
    nodes: tuple[str, ...]
    damage: float
    decisions: float
    time_share: float


def rank(quantized: bytes, original: bytes, images: NDArray[np.uint8], infer: Infer) -> tuple[LayerDamage, ...]:
    """Order the layers by the damage they do per time they would cost in float, worst first.

    Every layer costs one pass over the images.

    Args:
        quantized: A model that a recipe made of `original`.
        original: The float model.
        images: Calibration images, uint8 (N, H, W, 3).
        infer: Runs a model over images and returns the logits, float32 (N, C).
    """
    made, source = graph.load(quantized), graph.load(original)
    units = mixed.units(made)
    everything = {name for names in units.values() for name in names}
    expected = _centred(infer(original, images))
    spent = time_shares(source, images[:4])
    in_all = sum(spent.get(name, 0.0) for name in everything) or 1.0
    found = []
    for layer, nodes in units.items():
        alone = mixed.restore(made, source, everything - set(nodes))
        error = _centred(infer(graph.to_bytes(alone), images)) - expected
        found.append(
            LayerDamage(
                layer=layer,
                nodes=nodes,
                damage=float(np.sqrt((error**2).mean())),
                decisions=float(((error + expected).argmax(axis=1) != expected.argmax(axis=1)).mean()),
                time_share=sum(spent.get(name, 0.0) for name in nodes) / in_all,
            )
        )
    return tuple(sorted(found, key=worth, reverse=True))


def worth(found: LayerDamage) -> float:
    """Return what keeping a layer in float gains for what it costs: error power over time."""
    return found.damage**2 / max(found.time_share, LEAST_SHARE)


def time_shares(model: ModelProto, images: NDArray[np.uint8]) -> dict[str, float]:
    """Return each node's share of the float network's computing time, as ONNX Runtime's profiler sees it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    # further optimisations rename the nodes that they fuse
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for image in images:
            session.run(None, {model.graph.input[0].name: image[np.newaxis]})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    micros: dict[str, float] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            name = event["name"].removesuffix(KERNEL)
            micros[name] = micros.get(name, 0.0) + event["dur"]
    total = sum(micros.values())
    return {name: spent / total for name, spent in micros.items()} if total else {}


def _centred(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return logits without the part that softmax ignores."""
    wide = logits.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=1, keepdims=True))
