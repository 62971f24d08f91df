"""The steps that all runtimes share: resizing, normalization and the network."""

import numpy as np
import torch
from torch import nn

from headstart.backbones.loading import Preprocessing, resize_tensor
from headstart.core.errors import UserError


class NormalizedNetwork(nn.Module):
    """Normalization followed by the network: [B, S, S, 3] uint8 -> [B, D] float32.

    Raises:
        UserError: in `forward`, if the network doesn't return one vector per image.
    """

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        # (x / 255 - mean) / std as one multiplication and one addition
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale", (1 / (255 * std)).view(3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = pixels.permute(0, 3, 1, 2).float()  # [B, 3, S, S], channels_last in memory
        features = self.network(x * self.scale + self.shift)
        if not isinstance(features, torch.Tensor):
            raise UserError(
                f"the network returns a {type(features).__name__}, not a tensor [B, D] of features"
            )
        if features.ndim != 2:
            raise UserError(
                f"the network returns {list(features.shape[1:])} per image, not one vector; "
                f"let it pool (for most of timm's, model_args: {{global_pool: avg}})"
            )
        return features.float()


def resize_pixels(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Returns images [B, s, s, 3] uint8 at the network's input size: [B, S, S, 3] uint8."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # [B, 3, s, s] uint8, channels_last
    return resize_tensor(x, preprocessing).permute(0, 2, 3, 1).contiguous().numpy()
