"""The backbone `pixels`, whose features are the pixels themselves: a baseline for all others."""

from typing import Any

from timm.models import register_model
from torch import Tensor, nn


class RawPixels(nn.Module):
    """[B, 3, S, S] to [B, 3 * S * S]: the pixels, of the image's own range [0, 1].

    forward_features: [B, 3, S, S], as it is.
    """

    pretrained_cfg = {  # noqa: RUF012  (timm's name and type)
        "input_size": (3, 16, 16),
        "interpolation": "bilinear",
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
    }

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()

    def forward_features(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.flatten(self.forward_features(x))


@register_model
def pixels(
    pretrained: bool = False,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Any = None,
    cache_dir: Any = None,
    num_classes: int = 0,
) -> RawPixels:
    """Takes the arguments that timm passes to all constructors; they have no effect."""
    return RawPixels()
