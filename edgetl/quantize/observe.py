"""What the tensors of a float model hold on calibration images, channel by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BATCH = 8
PREFIX = "edgetl_observed"
# (steps before the reduction, reduction) of each statistic
REDUCTIONS = {"mean": ((), "ReduceMean"), "largest": (("Abs",), "ReduceMax")}


def per_channel(
    model: ModelProto,
    images: NDArray[np.uint8],
    tensors: Sequence[str],
    *,
    statistic: Literal["mean", "largest"],
    flat: Sequence[str] = (),
) -> dict[str, NDArray[np.float32]]:
    """Return a statistic of each tensor, per channel, float32 (C,), over images and positions.

    Args:
        model: Runs in ONNX Runtime; not changed.
        images: uint8 array (N, H, W, 3).
        tensors: Names of tensors (N, C, H, W).
        statistic: `mean`, or `largest` for the largest absolute value.
        flat: Names of further tensors (N, C).
    """
    probe = ModelProto()
    probe.CopyFrom(model)
    probe.graph.ClearField("output")
    steps, reduction = REDUCTIONS[statistic]
    names = (*tensors, *flat)
    for axes, label in (([2, 3], "spatial"), ([], "none")):
        probe.graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), f"{PREFIX}_{label}"))
    for place, name in enumerate(names):
        source = name
        for step in steps:
            probe.graph.node.append(helper.make_node(step, [source], [f"{PREFIX}/{step}/{place}"]))
            source = f"{PREFIX}/{step}/{place}"
        # images stay apart, so that batches of another size weigh what they hold
        inputs = [source, f"{PREFIX}_spatial" if place < len(tensors) else f"{PREFIX}_none"]
        output = f"{PREFIX}/{place}"
        probe.graph.node.append(helper.make_node(reduction, inputs, [output], keepdims=0, noop_with_empty_axes=1))
        probe.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    rows: list[list[NDArray[np.float32]]] = [[] for _ in names]
    session = quiet_session(probe)
    feed = model.graph.input[0].name
    for start in range(0, len(images), BATCH):
        for row, found in zip(rows, session.run(None, {feed: images[start : start + BATCH]}), strict=True):
            row.append(found)
    over_images = np.mean if statistic == "mean" else np.max
    return {
        name: over_images(np.concatenate(row).astype(np.float64), axis=0).astype(np.float32)
        for name, row in zip(names, rows, strict=True)
    }


def quiet_session(model: ModelProto) -> onnxruntime.InferenceSession:
    """Load a model into ONNX Runtime, its Q/DQ pairs as the arithmetic they stand for, without its notes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def logits(model: ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run every image through a model as its graph states it, float32 (N, C)."""
    session = quiet_session(model)
    feed = model.graph.input[0].name
    parts = [session.run(["logits"], {feed: images[at : at + BATCH]})[0] for at in range(0, len(images), BATCH)]
    return np.concatenate(parts)
