"""From a trained network to the one ONNX file that every backend reads.

The graph: input `image`, uint8 (N, height, width, 3) with symbolic N; Cast, Transpose, Sub and Mul normalise it; the
network follows; output `logits`, float32 (N, classes). The normalisation stays apart from the first convolution, so
that quantizers can leave it out by name. Cast stands first because NVIDIA's parser refuses a uint8 Transpose.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import nn

from edgetl.errors import ExportError
from edgetl.files import write_whole
from edgetl_runtime import onnx_walk
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.errors import EdgetlError

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUT = "image"
OUTPUT = "logits"
BATCH = "N"
OPSET = 18
NORMALISATION = ("Cast", "Transpose", "Sub", "Mul")
TRACE_BATCH = 2  # 1 would be taken for a constant


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """An exported file and what its users must know about it.

    Attributes:
        path: The ONNX file.
        sha256: Its digest; the same weights and versions give the same digest.
        size_bytes: Its size.
        normalisation_nodes: Names of the first four nodes, to be left out of quantization.
        node_count: Nodes of the graph.
        opset: Version of the default operator set.
    """

    path: Path
    sha256: str
    size_bytes: int
    normalisation_nodes: tuple[str, ...]
    node_count: int
    opset: int


class Deployable(nn.Module):
    """A network that takes camera pixels: uint8 (N, height, width, 3), RGB."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([255.0 * m for m in mean]).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([1.0 / (255.0 * s) for s in std]).reshape(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Compute the logits, float32 (N, classes)."""
        # contiguous: a channels-last tensor makes the tracer record pooling as a Gather of every element
        x = image.to(torch.float32).permute(0, 3, 1, 2).contiguous()
        logits: torch.Tensor = self.network((x - self.mean) * self.scale)
        return logits


def deployable(model: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> Deployable:
    """Copy a network into the form that is exported: evaluation mode, float32, on the CPU, contiguous.

    Args:
        model: Takes float32 (N, 3, height, width), normalised; left as it is.
        mean: Per-channel mean for values 0 to 1.
        std: Per-channel standard deviation, likewise.
    """
    network = copy.deepcopy(model).eval().float().cpu().to(memory_format=torch.contiguous_format)
    for module in network.modules():
        if isinstance(getattr(module, "fused_attn", None), bool):
            module.fused_attn = False  # type: ignore[assignment]  # plain matrix products give a graph without shape arithmetic
    return Deployable(network.requires_grad_(requires_grad=False), mean, std).eval()


def export_onnx(
    model: nn.Module,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size_px: tuple[int, int],
    path: Path,
    opset: int = OPSET,
) -> ExportResult:
    """Write a network as one ONNX file and prove that it loads and runs with any batch size.

    Args:
        model: Takes float32 (N, 3, height, width), normalised; left as it is.
        mean: Per-channel mean for values 0 to 1; goes into the graph.
        std: Per-channel standard deviation, likewise.
        size_px: Height and width of the input.
        path: The file to write; replaced atomically.
        opset: Version of the default operator set.

    Returns:
        The file's digest and the names of the normalisation nodes.

    Raises:
        ExportError: The network cannot be traced, or its graph is not of the promised form. Nothing is written.
    """
    wrapped = deployable(model, mean=mean, std=std)
    proto = _trace(wrapped, size_px, opset)
    _clean(proto)
    names = _name_nodes(proto)
    data = proto.SerializeToString(deterministic=True)
    _check(data, wrapped, size_px)
    write_whole(path, data)
    return ExportResult(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        normalisation_nodes=names,
        node_count=len(proto.graph.node),
        opset=opset,
    )


def _trace(wrapped: Deployable, size_px: tuple[int, int], opset: int) -> onnx.ModelProto:
    example = torch.zeros(TRACE_BATCH, *size_px, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # torch and onnxscript warn about their own internals here; what matters is checked on the result
        warnings.simplefilter("ignore")
        try:
            program: Any = torch.onnx.export(
                wrapped,
                (example,),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={"image": {0: torch.export.Dim(BATCH)}},
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise ExportError(
                "the network", "one that torch can export", reason, fix="choose another --backbone"
            ) from error
    proto: onnx.ModelProto = program.model_proto
    return proto


def _clean(proto: onnx.ModelProto) -> None:
    """Remove what differs between machines: paths in stack traces, producers, notes."""
    proto.producer_name, proto.producer_version, proto.doc_string, proto.domain = "edgetl", "", "", ""
    graph = proto.graph
    graph.name, graph.doc_string = "edgetl", ""
    del graph.value_info[:]  # shapes of every inner tensor; whoever needs them infers them
    for owner in (proto, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        if hasattr(owner, "metadata_props"):
            del owner.metadata_props[:]
        owner.doc_string = ""


def _name_nodes(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Give every node a name that does not depend on the tracer, the normalisation first and with names of its own."""
    chain = _normalisation(proto)
    chained = {node.output[0] for node in chain}
    # transformers read N from the input's shape, which the tracer may put before the normalisation
    ordered = [*chain, *(node for node in proto.graph.node if node.output[0] not in chained)]
    del proto.graph.node[:]
    proto.graph.node.extend(ordered)
    for index, node in enumerate(proto.graph.node):
        node.name = f"normalise/{node.op_type}" if index < len(chain) else f"{node.op_type}_{index}"
    return tuple(node.name for node in proto.graph.node[: len(chain)])


def _normalisation(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Follow the input through the normalisation; every other operand there must be a constant."""
    constants = {initializer.name for initializer in proto.graph.initializer}
    chain: list[onnx.NodeProto] = []
    tensor = INPUT
    for kind in NORMALISATION:
        users = [node for node in proto.graph.node if tensor in node.input and node.op_type != "Shape"]
        if [user.op_type for user in users] != [kind] or not constants.issuperset(users[0].input[1:]):
            got = " ".join(user.op_type for user in (*chain, *users)) or "nothing"
            fix = "use the pinned versions of torch and onnxscript"
            raise ExportError("the first nodes of the graph", " ".join(NORMALISATION), got, fix=fix)
        chain.append(users[0])
        tensor = users[0].output[0]
    return chain


def _check(data: bytes, wrapped: Deployable, size_px: tuple[int, int]) -> None:
    """Prove the form of the graph, and that it runs with one image and with three."""
    try:
        onnx.checker.check_model(data, full_check=True)
        onnx_walk.check(data, name="the exported model")
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, EdgetlError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ExportError("the exported graph", "valid ONNX", reason, fix="choose another --backbone") from error
    proto = onnx.load_model_from_string(data)
    shape = [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    wanted = [BATCH, *size_px, 3]
    if shape != wanted or [o.name for o in proto.graph.output] != [OUTPUT]:
        got = f"{shape} to {[o.name for o in proto.graph.output]}"
        raise ExportError("the exported graph", f"from {wanted} to ['{OUTPUT}']", got, fix="choose another --backbone")
    _check_batches(data, wrapped, size_px)


def _check_batches(data: bytes, wrapped: Deployable, size_px: tuple[int, int]) -> None:
    from edgetl_runtime import backends

    backend = backends.get("onnxruntime")
    options = LoadOptions(threads=1, batch=None)
    with backend.load(backend.compile(data, options), options) as session:
        for count in (1, 3):
            batch = np.random.default_rng(count).integers(0, 256, (count, *size_px, 3), np.uint8)
            with torch.inference_mode():
                expected = tuple(wrapped(torch.from_numpy(batch)).shape)
            found = session.infer(batch)[OUTPUT].shape
            if found != expected:
                got = f"{found}"
                raise ExportError(
                    f"the output for {count} images", f"of shape {expected}", got, fix="choose another --backbone"
                )
