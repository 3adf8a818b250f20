"""The side of the network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgetl.data.samples import spread
from edgetl_runtime.decode import decode
from edgetl_runtime.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.backbones.spec import BackboneSpec
    from edgetl.config import FinetuneConfig
    from edgetl.data.samples import Sample
    from edgetl.finetune.preset import Preset

LOOKED_AT = 32  # training images


def choose_size(spec: BackboneSpec, preset: Preset, config: FinetuneConfig, train: Sequence[Sample]) -> int:
    """Return the side in pixels: as asked, else the backbone's own times the preset's factor.

    Images are not enlarged beyond their own size for a preset's sake.

    Raises:
        EdgetlError: The backbone cannot take that size.
    """
    size = config.image_size
    if size is None and not spec.fixed_size and preset.resolution > 1:
        plain = PreprocessSpec(
            width_px=spec.input_px, height_px=spec.input_px, bit_depth=config.bit_depth, decode_scale=1
        )
        side = int(np.median([min(decode(s.path, plain).shape[:2]) for s in spread(train, LOOKED_AT)]))
        wanted = min(preset.resolution * spec.input_px, max(side, spec.input_px))
        step = max(4, spec.step_px)
        size = round(wanted / step) * step
    size = size or spec.input_px
    spec.check_size(size)
    return size
