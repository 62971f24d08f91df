from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from headstart.backbones.loading import LoadedBackbone, load_module
from headstart.core.errors import UserError
from headstart.localization.feature_maps import MapEncoder

STATISTICS = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.3)}


def images(side: int, count: int = 2) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, side, side))
    return torch.from_numpy(pixels.astype(np.uint8))


def test_pooled_the_map_is_what_extract_calls_features():
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=0).eval()
    encoder = MapEncoder(load_module(network, 64, **STATISTICS))
    assert encoder.map_shape == (512, 2, 2)
    x = images(64)
    mean, std = (torch.tensor(STATISTICS[name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        pooled = network((x / 255 - mean) / std)
        torch.testing.assert_close(encoder(x).mean((2, 3)), pooled)


def test_a_transformers_tokens_are_a_map_without_the_class_token():
    arguments: dict[str, Any] = {"img_size": 32, "depth": 1, "embed_dim": 48, "num_heads": 2}
    network: Any = timm.create_model("vit_tiny_patch16_224", num_classes=0, **arguments).eval()
    encoder = MapEncoder(load_module(network, 32, **STATISTICS))
    assert encoder.map_shape == (48, 2, 2)
    x = images(32)
    with torch.inference_mode():
        found = encoder(x)
        tokens = network.forward_features((x.float() / 255 - encoder.mean) / encoder.std)
    # Tokens go row by row, behind the class token.
    torch.testing.assert_close(found[:, :, 0, 1], tokens[:, 2])
    torch.testing.assert_close(found[:, :, 1, 0], tokens[:, 3])


class ChannelsLast(nn.Module):
    """Gives its map as timm's Swin transformers do."""

    output_fmt = "NHWC"

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[:, 0], x[:, 1]], dim=-1)[:, :, : x.shape[3] // 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def test_a_map_with_its_channels_last_is_turned():
    assert MapEncoder(load_module(ChannelsLast(), 8, **STATISTICS)).map_shape == (2, 8, 4)


def test_batch_normalization_keeps_its_statistics():
    network = timm.create_model("resnet10t", num_classes=0)
    encoder = MapEncoder(load_module(network, 32, **STATISTICS)).requires_grad_(True).train()
    before = encoder.network.bn1.running_mean.clone()
    encoder(images(32)).sum().backward()
    torch.testing.assert_close(encoder.network.bn1.running_mean, before)
    assert encoder.network.conv1[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("network", [nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(192, 5))])
def test_a_backbone_without_a_map(network: nn.Module):
    backbone: LoadedBackbone = load_module(network, 8, **STATISTICS)
    with pytest.raises(UserError, match=r"^localize.backbones: \w+ has no feature map with rows"):
        MapEncoder(backbone)
