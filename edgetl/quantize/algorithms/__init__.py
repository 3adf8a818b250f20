"""Quantization algorithms, found by filename: a module with `Parameters` and `quantize` in this folder is one.

Parameters   frozen dataclass with defaults; what a recipe's [parameters] may say
USES_IMAGES  whether it needs calibration images
quantize(model, calibration, *, parameters, exclude) -> bytes
    model        bytes of a float ONNX model with one uint8 input (N, H, W, 3)
    calibration  uint8 array (N, H, W, 3), at least one image; the first `parameters.images` are used
    parameters   Parameters
    exclude      names of nodes that stay float
    returns      bytes of an ONNX model with the same input and outputs; equal arguments give equal bytes
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, Protocol, cast

from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Algorithm(Protocol):
    """The interface of a module in this folder."""

    Parameters: type[Any]
    USES_IMAGES: bool

    def quantize(
        self,
        model: bytes,
        calibration: NDArray[np.uint8] | None,
        *,
        parameters: Any,  # noqa: ANN401  (each algorithm has a class of its own)
        exclude: tuple[str, ...],
    ) -> bytes:
        """Quantize `model`; see the module docstring."""


def names() -> tuple[str, ...]:
    """Return the names of all algorithms, sorted; none of them is imported for it."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get(name: str) -> Algorithm:
    """Import one algorithm.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in names():
        raise UsageError("algorithm", "a known quantization algorithm", f"'{name}'", fix=nearest(name, names()))
    return cast("Algorithm", importlib.import_module(f"{__name__}.{name}"))
