"""MobileNet V2, V3 and V4 (convolutional)."""

from __future__ import annotations

from edgetl.backbones.spec import BackboneSpec

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_V2_PAPER = "https://arxiv.org/abs/1801.04381"
_V3_PAPER = "https://arxiv.org/abs/1905.02244"
_V4_PAPER = "https://arxiv.org/abs/2404.10518"


def _mobilenet(name: str, tag: str, paper: str, input_px: int = 224) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        timm_name=f"{name}.{tag}",
        input_px=input_px,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        head="classifier",
        layout="conv_blocks",
        licence="Apache-2.0",
        paper=paper,
        hub_id=f"timm/{name}.{tag}",
    )


SPECS = (
    _mobilenet("mobilenetv2_100", "ra_in1k", _V2_PAPER),
    # The same network as TensorFlow computes it: asymmetric padding, its epsilon, inputs in -1 to 1. For weights
    # converted from TensorFlow, which load on mobilenetv2_100 too but give other answers there.
    BackboneSpec(
        name="mobilenetv2_100_tf",
        timm_name="mobilenetv2_100",
        input_px=224,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bilinear",
        head="classifier",
        layout="conv_blocks",
        licence="Apache-2.0",
        paper=_V2_PAPER,
        hub_id=None,
        create_kwargs={"pad_type": "same", "bn_eps": 1e-3},
    ),
    _mobilenet("mobilenetv3_small_100", "lamb_in1k", _V3_PAPER),
    _mobilenet("mobilenetv3_large_100", "ra_in1k", _V3_PAPER),
    _mobilenet("mobilenetv4_conv_small", "e2400_r224_in1k", _V4_PAPER),
    _mobilenet("mobilenetv4_conv_medium", "e500_r256_in1k", _V4_PAPER, 256),
)
