"""How each family of networks divides into segments, from the input to the pooled features.

Composed in order, the segments compute what the network itself computes before its classifier, in training too
(dropout included). They share the network's parameters; freezing a segment freezes that part of the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    Segments = list[tuple[str, nn.Module]]


def conv_blocks(model: Any) -> Segments:  # noqa: ANN401  (timm ships no types)
    """MobileNet and EfficientNet: stem, stages, head. The head convolution stands before or after the pooling."""
    from torch import nn

    stem = [("stem", nn.Sequential(model.conv_stem, model.bn1))]
    stages = [(f"blocks.{i}", stage) for i, stage in enumerate(model.blocks)]
    if hasattr(model, "bn2"):
        head = [model.conv_head, model.bn2, model.global_pool]
    else:
        head = [model.global_pool, model.conv_head, model.norm_head, model.act2, model.flatten]
    return [*stem, *stages, ("head", nn.Sequential(*head, _dropout(model)))]


def resnet(model: Any) -> Segments:  # noqa: ANN401
    """ResNet: stem, four layers, pooling with the last."""
    from torch import nn

    stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)
    last = nn.Sequential(model.layer4, model.global_pool, _dropout(model))
    layers = [(name, getattr(model, name)) for name in ("layer1", "layer2", "layer3")]
    return [("stem", stem), *layers, ("layer4", last)]


def vgg(model: Any) -> Segments:  # noqa: ANN401
    """VGG: one segment per convolution stage (each ends with its pooling), then the two wide layers."""
    from torch import nn

    stages: list[list[nn.Module]] = [[]]
    for layer in model.features:
        stages[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            stages.append([])
    named = [(f"features.{i}", nn.Sequential(*layers)) for i, layers in enumerate(s for s in stages if s)]
    head = nn.Sequential(model.pre_logits, model.head.global_pool, model.head.drop)
    return [*named, ("pre_logits", head)]


def inception(model: Any) -> Segments:  # noqa: ANN401
    """Inception-v3: stem, then each group of Mixed blocks."""
    from torch import nn

    stem = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Pool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "Pool2")
    groups = {
        "stem": stem,
        "Mixed_5": ("Mixed_5b", "Mixed_5c", "Mixed_5d"),
        "Mixed_6": ("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
        "Mixed_7": ("Mixed_7a", "Mixed_7b", "Mixed_7c", "global_pool", "head_drop"),
    }
    return [(name, nn.Sequential(*(getattr(model, layer) for layer in layers))) for name, layers in groups.items()]


def vit(model: Any) -> Segments:  # noqa: ANN401
    """ViT and DeiT with one class token: patches with positions, blocks, norm with the token."""
    from edgetl.backbones.parts import ClassToken, Embedding

    blocks = [(f"blocks.{i}", block) for i, block in enumerate(model.blocks)]
    return [("patch_embed", Embedding(model)), *blocks, ("head", ClassToken(model))]


def whole(model: Any) -> Segments:  # noqa: ANN401
    """Any other network: one segment, so it can only be frozen or trained as a whole."""
    from edgetl.backbones.parts import Features

    return [("all", Features(model))]


def _dropout(model: Any) -> nn.Module:  # noqa: ANN401
    from edgetl.backbones.parts import NetworkDropout

    return NetworkDropout(model)


LAYOUTS: dict[str, Callable[[Any], Segments]] = {
    "conv_blocks": conv_blocks,
    "resnet": resnet,
    "vgg": vgg,
    "inception": inception,
    "vit": vit,
    "whole": whole,
}
