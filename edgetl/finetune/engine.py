"""Run the frozen part of a network with the deployment engine instead of the training framework.

On a CPU, OpenVINO runs a frozen backbone several times faster than eager torch, so frozen segments are never run by
torch while training: neither for the cached features of the head nor below the segments that learn.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from edgetl.export.onnx import Deployable
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn


def pick_device(wish: str) -> torch.device:
    """Resolve `--device`.

    Raises:
        UsageError: CUDA was asked for and is not there; there is no silent fall back to the CPU.
    """
    if wish == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda", "a usable CUDA device", "none", fix="--device cpu")
    return torch.device("cuda" if wish != "cpu" and torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """Return the mixed precision that is fast here: fp16 on CUDA, bf16 on CPUs that compute in it, else none."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.float16)
    from edgetl_runtime.probe import facts

    fast = not {"avx512_bf16", "amx_bf16"}.isdisjoint(facts().cpu_flags)
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast)


class FrozenTrunk:
    """A frozen stack of segments, callable on uint8 batches.

    Args:
        segments: Modules in running order; an empty list gives just the normalisation.
        mean: Per-channel mean of the normalisation, for values 0 to 1.
        std: Per-channel standard deviation, likewise.
        size_px: Input (width, height).
        device: Where the trainable part lives; results are put there.
    """

    def __init__(
        self,
        segments: Sequence[nn.Module],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        size_px: tuple[int, int],
        device: torch.device,
    ) -> None:
        self.device = device
        self.module = Deployable(torch.nn.Sequential(*segments), mean, std).to(device).eval()
        self._compiled = _compile(self.module, size_px) if segments and device.type == "cpu" else None

    def __call__(self, batch: NDArray[np.uint8]) -> Tensor:
        """Map uint8 (N, H, W, 3) to the activations below the trainable part, float32, on the device."""
        if self._compiled is not None:
            output = torch.from_numpy(self._compiled(batch)[0].copy())
        else:
            with torch.no_grad(), autocast(self.device):
                output = self.module(torch.from_numpy(batch).to(self.device)).float()
        return output.contiguous(memory_format=torch.channels_last) if output.ndim == 4 else output


def split_at_depth(modules: list[nn.Module], depth: float) -> tuple[list[nn.Module], list[nn.Module]]:
    """Divide modules in running order into frozen and learning ones; at least one learns.

    Args:
        modules: In running order.
        depth: Share that learns, counted from the top, 0 to 1.
    """
    cut = len(modules) - max(1, round(depth * len(modules)))
    return modules[:cut], modules[cut:]


def _compile(module: nn.Module, size_px: tuple[int, int]) -> Any:  # noqa: ANN401  (openvino ships no types)
    import openvino

    width, height = size_px
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        # torch deprecates the tracer that OpenVINO's converter uses (openvino 2026.4); nothing of ours to change
        warnings.simplefilter("ignore")
        model = openvino.convert_model(module, example_input=example)
    model.reshape([-1, height, width, 3])
    # f32: the features must be those of the float network, whatever the CPU would prefer
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda batch: request.infer([batch], share_inputs=True)
