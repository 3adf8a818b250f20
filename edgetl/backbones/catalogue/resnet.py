"""ResNet."""

from __future__ import annotations

from edgetl.backbones.spec import BackboneSpec


def _resnet(name: str, tag: str) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        timm_name=f"{name}.{tag}",
        input_px=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        head="fc",
        layout="resnet",
        licence="Apache-2.0",
        paper="https://arxiv.org/abs/1512.03385; weights: https://arxiv.org/abs/2110.00476",
        hub_id=f"timm/{name}.{tag}",
    )


SPECS = (_resnet("resnet18", "a1_in1k"), _resnet("resnet50", "a1_in1k"))
