"""The features of a network that was trained end to end: what its classifier sees."""

from typing import Any

import torch
from torch import Tensor, nn


class LogitsAndFeatures(nn.Module):
    """A network of timm's that also returns its features: [B, 3, S, S] to [B, C + D].

    C logits come first, then the D features that the classifier computed them from.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, x: Tensor) -> Tensor:
        maps = self.network.forward_features(x)
        features = self.network.forward_head(maps, pre_logits=True)
        return torch.cat([self.network.get_classifier()(features), features], dim=1)


def gives_features(network: nn.Module) -> bool:
    """Returns whether the network has timm's methods that `LogitsAndFeatures` calls."""
    return all(hasattr(network, name) for name in ("forward_features", "forward_head"))
