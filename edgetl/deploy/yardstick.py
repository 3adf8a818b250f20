"""What a training script would run on the station: PIL, torchvision and eager torch; the yardstick of latency."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl.run import Run, RunFolder


def eager_predictor(folder: RunFolder, run: Run) -> Callable[[bytes], int]:
    """Return a function from an encoded image to the index of its class, as plain training code would decide it."""
    import torch
    from PIL import Image
    from torchvision import transforms

    from edgetl.finetune.store import load_model

    model = load_model(folder, run)
    size = (run.preprocess.height_px, run.preprocess.width_px)
    steps: Any = transforms.Compose(
        [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(run.mean, run.std)]
    )

    def predict(encoded: bytes) -> int:
        with torch.inference_mode():
            tensor = steps(Image.open(io.BytesIO(encoded)).convert("RGB"))
            return int(model(tensor[None]).argmax())

    return predict
