"""ViT and DeiT, tiny."""

from __future__ import annotations

from edgetl.backbones.spec import BackboneSpec


def _vit(
    name: str, tag: str, mean: tuple[float, float, float], std: tuple[float, float, float], paper: str
) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        timm_name=f"{name}.{tag}",
        input_px=224,
        step_px=16,
        mean=mean,
        std=std,
        head="head",
        layout="vit",
        licence="Apache-2.0",
        paper=paper,
        hub_id=f"timm/{name}.{tag}",
        size_argument="img_size",
    )


_HALF = (0.5, 0.5, 0.5)
SPECS = (
    _vit(
        "deit_tiny_patch16_224",
        "fb_in1k",
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        "https://arxiv.org/abs/2012.12877",
    ),
    _vit("vit_tiny_patch16_224", "augreg_in21k_ft_in1k", _HALF, _HALF, "https://arxiv.org/abs/2106.10270"),
)
