"""Prepare a network for int8: a short training with simulated rounding, taught by the float network.

The last resort of the quantization ladder. Weights and the inputs of every layer with weights are rounded in the
forward pass and gradients pass straight through (Jacob et al., arXiv 1712.05877); the loss is the distance to the
float network's own scores (Hinton et al., arXiv 1503.02531), so no label is needed and the decisions stay the ones that
were evaluated. Batch normalisation keeps its statistics: per-channel rounding commutes with folding it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from edgetl.errors import QuantizeError
from edgetl.export.onnx import Deployable, deployable
from edgetl.finetune.engine import FrozenTrunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

BATCH = 16
RANGE_IMAGES = 128


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how boldly to train.

    Attributes:
        images: How many training images are seen, some of them repeatedly where there are fewer.
        learning_rate: Peak of Adam's rate; falls to zero as a cosine.
    """

    images: int = 1600
    learning_rate: float = 3e-5


class RoundedWeight(nn.Module):
    """Rounds a weight as quantizers do: int8, symmetric, a scale per output channel."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight as it will be after quantization; gradients pass straight through."""
        scale = weight.detach().flatten(1).abs().amax(dim=1).clamp_min(1e-12) / 127
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)


class RoundedInput:
    """A forward pre-hook: observes the range of a layer's input, then rounds to it.

    Args:
        symmetric: int8 around zero, as NVIDIA's engines want it; else uint8 with a zero point.
    """

    def __init__(self, *, symmetric: bool) -> None:
        self.symmetric = symmetric
        self.low = self.high = 0.0
        self.observing = True

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the layer's inputs with the first one rounded."""
        first, *rest = inputs
        if self.observing:
            self.low = min(self.low, first.min().item())
            self.high = max(self.high, first.max().item())
            return inputs
        if self.symmetric:
            scale = max(-self.low, self.high, 1e-12) / 127
            return (torch.fake_quantize_per_tensor_affine(first, scale, 0, -127, 127), *rest)
        scale = max(self.high - self.low, 1e-12) / 255
        return (torch.fake_quantize_per_tensor_affine(first, scale, round(-self.low / scale), 0, 255), *rest)


def adapt(
    model: nn.Module,
    images: NDArray[np.uint8],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    symmetric: bool,
    seed: int,
    schedule: Schedule | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> nn.Module:
    """Return a copy of a network whose weights suffer less from rounding; it is a float network as before.

    Args:
        model: Takes float32 (N, 3, height, width), normalised; left as it is, and the teacher.
        images: Of the training split, uint8 (N, height, width, 3).
        mean: Per-channel mean of the normalisation, for values 0 to 1.
        std: Per-channel standard deviation, likewise.
        symmetric: How activations will be rounded.
        seed: Of the order of the images.
        schedule: Defaults to `Schedule()`.
        progress: Called with images seen and images in all.

    Raises:
        QuantizeError: The loss is no longer finite.
    """
    schedule = schedule or Schedule()
    height, width = images.shape[1:3]
    teacher = FrozenTrunk([model], mean=mean, std=std, size_px=(width, height), device=torch.device("cpu"))
    student = deployable(model, mean=mean, std=std).to(memory_format=torch.channels_last)
    student.requires_grad_(requires_grad=True)
    layers = [m for m in student.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    inputs = [RoundedInput(symmetric=symmetric) for _ in layers]
    handles = [layer.register_forward_pre_hook(hook) for layer, hook in zip(layers, inputs, strict=True)]
    order = np.random.default_rng(seed)
    observed = images[order.permutation(len(images))[:RANGE_IMAGES]]
    with torch.no_grad():
        for start in range(0, len(observed), BATCH):
            student(torch.from_numpy(observed[start : start + BATCH]))
    for hook in inputs:
        hook.observing = False
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", RoundedWeight())
    _train(student, teacher, images, order, schedule, progress)
    for handle in handles:
        handle.remove()
    for layer in layers:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    return student.network.requires_grad_(requires_grad=False)


def _train(
    student: Deployable,
    teacher: FrozenTrunk,
    images: NDArray[np.uint8],
    order: np.random.Generator,
    schedule: Schedule,
    progress: Callable[[int, int], None],
) -> None:
    optimizer = torch.optim.Adam(student.parameters(), lr=schedule.learning_rate)
    batch = min(BATCH, len(images))
    steps = max(1, schedule.images // batch)
    queue: list[int] = []
    for step in range(steps):
        if len(queue) < batch:
            queue = order.permutation(len(images)).tolist()
        chosen, queue = queue[:batch], queue[batch:]
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        seen = torch.from_numpy(images[chosen])
        wanted = functional.log_softmax(teacher(images[chosen]), dim=1)
        loss = functional.kl_div(
            functional.log_softmax(student(seen), dim=1), wanted, reduction="batchmean", log_target=True
        )
        if not torch.isfinite(loss):
            raise QuantizeError(
                "the loss of quantization-aware training",
                "finite",
                f"{loss.item()} at step {step}",
                fix="leave layers in float",
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        progress((step + 1) * batch, steps * batch)
