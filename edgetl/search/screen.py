"""Latency first: time a network of random weights on the target, before anything is trained.

Latency does not depend on the weights, so what is far too slow need not be trained to be known.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl import tasks
from edgetl.deploy.candidates import Candidate, unusable_here
from edgetl.deploy.latency import Contestant, screen
from edgetl_runtime.decode import decode
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.preprocess import PreprocessSpec, preprocess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgetl.deploy.plan import PlannedCandidate
    from edgetl.tasks.base import HostTask
    from edgetl_runtime.contract import Contract


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """All of a network that decides its latency, and what its decisions are made from.

    Attributes:
        backbone: Name in the catalogue, or `timm/<name>`.
        preprocess: From image to tensor.
        task: What is decided.
        labels: What is decided about: the task's own.
        params: How, of the random weights: any will do.
    """

    backbone: str
    preprocess: PreprocessSpec
    task: str
    labels: Any
    params: Any

    @classmethod
    def of(cls, backbone: str, spec: PreprocessSpec, task: HostTask[Any, Any, Any], labels: Any) -> Shape:  # noqa: ANN401
        """Return a network that decides as a model would that knows nothing."""
        classes = len(task.device.classes(labels))
        truth = np.arange(2 * classes) % classes
        outputs = {"logits": np.zeros((2 * classes, classes), np.float32)}
        params = task.fit(outputs, truth, labels, task.aims({}))
        return cls(backbone=backbone, preprocess=spec, task=task.name, labels=labels, params=params)


def screen_shape(
    shape: Shape,
    planned: Sequence[PlannedCandidate],
    encoded: Sequence[bytes],
    note: Callable[[str], None] = lambda _text: None,
) -> dict[str, float]:
    """Time every variant of a random-weight network from encoded image to decision.

    Args:
        shape: The network.
        planned: The variants; those this machine cannot compute are left out.
        encoded: Images as the station reads them; they also set the ranges of the quantized variants.
        note: Told of a wait for another process that measures.

    Returns:
        `backend-precision` → median of a short round with the best of the planned thread counts, in milliseconds.
    """
    tensors = np.stack([preprocess(decode(data, shape.preprocess), shape.preprocess, colour="rgb") for data in encoded])
    model = _random_model(shape)
    contestants = [
        Contestant(run=shape, candidate=candidate, encoded=encoded)
        for plan in planned
        if unusable_here(plan.backend, plan.precision) is None
        for candidate in _variants(shape, plan, model, tensors)
    ]
    best: dict[str, float] = {}
    for contestant, median_ms in zip(contestants, screen(contestants, note), strict=True):
        name = contestant.candidate.id
        best[name] = min(median_ms, best.get(name, median_ms))
    return best


def too_slow_by_far(contract: Contract, median_ms: float) -> str | None:
    """Say why a median rules a variant out, or None.

    A p99 is never below the median, so a median beyond the bound on p99 settles it; a p99 of a short round would not.

    Example:
        >>> from edgetl_runtime.contract import Contract
        >>> too_slow_by_far(Contract(p99_ms=5), 6.0)
        'median 6.00 ms > p99 5.00 ms'
    """
    bounds = {"p50": contract.p50_ms, "p99": contract.p99_ms}
    name, bound = min(((n, b) for n, b in bounds.items() if b is not None), key=lambda x: x[1], default=("", None))
    return f"median {median_ms:.2f} ms > {name} {bound:.2f} ms" if bound is not None and median_ms > bound else None


def _random_model(shape: Shape) -> bytes:
    import torch

    from edgetl import backbones
    from edgetl.backbones.build import build
    from edgetl.export.onnx import export_onnx

    spec = backbones.get(shape.backbone)
    torch.manual_seed(0)
    size_px = (shape.preprocess.height_px, shape.preprocess.width_px)
    network = build(
        spec, num_classes=len(tasks.get(shape.task).device.classes(shape.labels)), weights=None, image_px=size_px[0]
    )
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        path = Path(folder) / "random.onnx"
        export_onnx(network, mean=spec.mean, std=spec.std, size_px=size_px, path=path)
        return path.read_bytes()


def _variants(shape: Shape, plan: PlannedCandidate, model: bytes, tensors: np.ndarray) -> list[Candidate]:
    """Make the candidates of one planned variant; the first recipe will do, since all rungs cost the same time."""
    from edgetl.quantize import recipe as recipes

    recipe = recipes.for_backend(plan.backend, precision=plan.precision)[0]  # type: ignore[arg-type]
    made = recipes.apply(recipe, model, tensors if recipe.uses_images else None)
    return [
        Candidate(
            id=f"{plan.backend}-{plan.precision}",
            backend=plan.backend,
            precision=plan.precision,
            model=made.model,
            options=VariantOptions(threads=threads, precision_hint=recipe.file.precision_hint),
            requires=Requires(),  # nothing of it ships
            evidence={},
            task=shape.task,
            params=shape.params,
            val={},
            drop_pp=0.0,
            flips=0,
        )
        for threads in plan.threads
    ]
