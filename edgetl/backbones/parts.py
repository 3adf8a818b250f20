"""Modules that stand for parts of a network that timm computes in functions. Imported only when a network is built.

They hold the network's own modules and parameters, so copying, exporting and freezing them works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253  (subclasses of its Module cannot be written without it; nothing imports this file early)
from torch import nn  # noqa: TID253
from torch.nn import functional  # noqa: TID253

if TYPE_CHECKING:
    from collections.abc import Iterator


class NetworkDropout(nn.Module):
    """A network's dropout before its classifier, active while both this module and the network are in training mode."""

    network: Any

    def __init__(self, network: Any) -> None:  # noqa: ANN401  (timm ships no types)
        super().__init__()
        object.__setattr__(self, "network", network)  # not registered: this part owns no parameters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop elements of `x`, (N, width)."""
        return functional.dropout(x, self.network.drop_rate, training=self.training and self.network.training)


class Embedding(nn.Module):
    """The patches of a vision transformer with class token and positions."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.patch_embed = network.patch_embed
        self.cls_token = network.cls_token
        self.pos_embed = network.pos_embed
        self.after = nn.Sequential(network.pos_drop, network.patch_drop, network.norm_pre)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn images, (N, 3, side, side), into tokens, (N, 1 + patches, width)."""
        patches = self.patch_embed(x)
        token = self.cls_token.expand(patches.shape[0], -1, -1)
        tokens: torch.Tensor = self.after(torch.cat((token, patches), dim=1) + self.pos_embed)
        return tokens


class ClassToken(nn.Module):
    """The class token of a vision transformer, normalised."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.norm = network.norm
        self.after = nn.Sequential(network.fc_norm, network.head_drop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn tokens, (N, 1 + patches, width), into features, (N, width)."""
        token: torch.Tensor = self.after(self.norm(x)[:, 0])
        return token


class Features(nn.Module):
    """A whole network up to its classifier, whose parameters are not among this module's."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.network = network

    def named_parameters(
        self,
        prefix: str = "",
        recurse: bool = True,  # noqa: FBT001, FBT002  (torch's signature)
        remove_duplicate: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield names and parameters, without the classifier's."""
        left_out = {id(p) for p in self.network.get_classifier().parameters()}
        for name, parameter in super().named_parameters(prefix, recurse, remove_duplicate):
            if id(parameter) not in left_out:
                yield name, parameter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn images, (N, 3, height, width), into features, (N, width)."""
        features: torch.Tensor = self.network.forward_head(self.network.forward_features(x), pre_logits=True)
        return features
