"""Encoders: backbones up to their last feature map, before it is pooled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from headstart.backbones.loading import LoadedBackbone, resize_tensor
from headstart.core.errors import UserError

ENCODING_BATCH_SIZE = 32


class MapEncoder(nn.Module):
    """[B, 3, S, S] uint8 -> the backbone's last feature map [B, C, h, w] float32.

    S: the backbone's input size. Batch normalization always uses the statistics of its pretraining,
    because those of small batches would be worse.

    Raises:
        UserError: the backbone has no feature map.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: LoadedBackbone) -> None:
        super().__init__()
        self.network: Any = backbone.network.to(memory_format=torch.channels_last)
        self.preprocessing = backbone.preprocessing
        self.register_buffer("mean", torch.tensor(self.preprocessing.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(self.preprocessing.std).view(3, 1, 1))
        self.eval()
        size = self.preprocessing.input_size
        with torch.inference_mode():
            shape = self(torch.zeros(1, 3, size, size, dtype=torch.uint8)).shape
        self.map_shape: tuple[int, int, int] = tuple(shape[1:])

    def train(self, mode: bool = True) -> "MapEncoder":
        """Stays in evaluation mode; whether its weights learn is their `requires_grad`."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() / 255 - self.mean) / self.std
        x = x.contiguous(memory_format=torch.channels_last)
        features = getattr(self.network, "forward_features", None)
        x = features(x) if features else None
        if isinstance(x, Tensor) and x.ndim == 3:  # a transformer's tokens, the class token first
            x = x[:, getattr(self.network, "num_prefix_tokens", 0) :]
            side = round(x.shape[1] ** 0.5)
            x = x.mT.unflatten(2, (side, side)) if side**2 == x.shape[1] else None
        elif isinstance(x, Tensor) and getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            x = x.permute(0, 3, 1, 2)
        if not isinstance(x, Tensor) or x.ndim != 4:
            raise UserError(
                f"localize.backbones: {type(self.network).__name__} has no feature map with rows "
                f"and columns; name another backbone"
            )
        return x

    def resize_all(self, images: Sequence[np.ndarray]) -> Tensor:
        """Returns images at the backbone's input size: [B, 3, S, S] uint8.

        images: each [s, s, 3] uint8, of any side.
        """
        tensors = (torch.from_numpy(image).permute(2, 0, 1)[None] for image in images)
        return torch.cat([resize_tensor(tensor, self.preprocessing) for tensor in tensors])


@torch.inference_mode()
def encode(
    encoder: MapEncoder, images: Sequence[np.ndarray], device: torch.device, bar: tqdm
) -> Tensor:
    """Returns the feature maps of N square images: [N, C, h, w] float16, on the host.

    images: each [s, s, 3] uint8, of any side. bar: advances by one per image.
    """
    maps = torch.empty((len(images), *encoder.map_shape), dtype=torch.float16)
    for start in range(0, len(images), ENCODING_BATCH_SIZE):
        batch = encoder.resize_all(images[start : start + ENCODING_BATCH_SIZE])
        maps[start : start + len(batch)] = encoder(batch.to(device))
        bar.update(len(batch))
    return maps
