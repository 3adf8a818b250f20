"""VGG-16 with batch norm and Inception-v3: what older inspection papers were built on."""

from __future__ import annotations

from edgetl.backbones.spec import BackboneSpec

SPECS = (
    BackboneSpec(
        name="vgg16_bn",
        timm_name="vgg16_bn.tv_in1k",
        input_px=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bilinear",
        head="head.fc",
        layout="vgg",
        licence="BSD-3-Clause",
        paper="https://arxiv.org/abs/1409.1556",
        hub_id="timm/vgg16_bn.tv_in1k",
    ),
    BackboneSpec(
        name="inception_v3",
        timm_name="inception_v3.tv_in1k",
        input_px=299,
        min_px=75,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        head="fc",
        layout="inception",
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/1512.00567",
        hub_id="timm/inception_v3.tv_in1k",
        ignored_keys=("AuxLogits.",),
    ),
)
