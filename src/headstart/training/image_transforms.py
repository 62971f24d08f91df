"""From stored pixels to what a network sees, a batch at a time, on the device that the batch is on.

Random numbers come from torch's own generator, so that its seed decides them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.config import Augmentation


@dataclass(frozen=True)
class InputSpec:
    """What a network sees of an image: a square part of it, scaled to `size` px and normalized.

    crop: the part's side over the image's, taken to whole px. mean, std: of pixels in [0, 1], a
    channel each.
    """

    size: int
    crop: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def side(self) -> int:
        """Of whole images, in px: more of them would not be seen."""
        return round(self.size / self.crop)

    def eval_transform(self, images: Tensor) -> Tensor:
        """The centers of [B, S, S, 3] uint8, as [B, 3, size, size] float32."""
        still = torch.zeros(len(images), device=images.device)
        shift = torch.stack([still, still], dim=1)
        x = _cut(images, self._window(images), self.size, shift, still, still.bool())
        return self._normalized(x)

    def train_transform(self, images: Tensor, augmentation: Augmentation) -> Tensor:
        """Random parts of [B, S, S, 3] uint8, randomly changed: [B, 3, size, size] float32.

        Random crop, mirroring, translation, rotation; then brightness, contrast and gamma, after
        each of which values are cut to the range of pixels (tailored-networks paper, section 3.1;
        brightness: Milani, section 3.3).
        """
        batch, side, device = len(images), images.shape[1], images.device
        window = self._window(images)

        def sometimes(low: float, high: float, otherwise: float) -> Tensor:
            """[B] values in [low, high], or `otherwise` where the die says no."""
            values = torch.empty(batch, device=device).uniform_(low, high)
            on = torch.rand(batch, device=device) < augmentation.probability
            return torch.where(on, values, otherwise)

        # Whole pixels: a cut alone must not blur. The free border may be odd, hence the halves.
        free = side - window
        cut = torch.randint(free + 1, (batch, 2), device=device) - free / 2
        most = augmentation.translation * side
        shift = torch.stack([sometimes(-most, most, 0), sometimes(-most, most, 0)], dim=1)
        angle = sometimes(-augmentation.rotation, augmentation.rotation, 0).deg2rad()
        mirrored = torch.rand(batch, device=device) < augmentation.flip
        x = _cut(images, window, self.size, cut + shift.round(), angle, mirrored)

        brightness = sometimes(-augmentation.brightness, augmentation.brightness, 0)
        contrast = sometimes(*augmentation.contrast, 1)
        gamma = sometimes(*augmentation.gamma, 1)
        x = adjust_light(x, brightness, contrast, gamma)
        return self._normalized(x)

    def _window(self, images: Tensor) -> int:
        return round(self.crop * images.shape[1])

    def _normalized(self, x: Tensor) -> Tensor:
        mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (self.mean, self.std))
        return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def adjust_light(x: Tensor, brightness: Tensor, contrast: Tensor, gamma: Tensor) -> Tensor:
    """[B, 3, H, W] in [0, 1], with a term and two factors an image, [B] each.

    Contrast is a factor on the distance from each channel's mean, gamma a power.
    """
    brightness, contrast, gamma = (v.view(-1, 1, 1, 1) for v in (brightness, contrast, gamma))
    x = (x + brightness).clamp(0, 1)
    mean = x.mean((2, 3), keepdim=True)
    x = ((x - mean) * contrast + mean).clamp(0, 1)
    return x.pow(gamma)


def _cut(
    images: Tensor,
    window: int,
    size: int,
    shift: Tensor,
    angle: Tensor,
    mirrored: Tensor,
) -> Tensor:
    """[B, S, S, 3] uint8 to [B, 3, size, size] in [0, 1]: squares of `window` px, bilinear.

    shift: [B, 2] px right and down from the center. angle: [B] radians. mirrored: [B] bool. What
    lies outside of an image is its reflection.
    """
    batch, side = images.shape[:2]
    sine, cosine, flip = angle.sin(), angle.cos(), torch.where(mirrored, -1.0, 1.0)
    scale = window / side
    # From output to image coordinates, both in [-1, 1]: x' = [turn * scale * flip] x + shift
    affine = torch.stack(
        [
            torch.stack([scale * cosine * flip, -scale * sine, 2 * shift[:, 0] / side], dim=1),
            torch.stack([scale * sine * flip, scale * cosine, 2 * shift[:, 1] / side], dim=1),
        ],
        dim=1,
    )  # [B, 2, 3]
    grid = F.affine_grid(affine, [batch, 3, size, size], align_corners=False)
    x = images.permute(0, 3, 1, 2).float() / 255
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)


def downscale(images: Tensor, side: int) -> Tensor:
    """[B, S, S, 3] uint8 to at most `side` px: bilinear, antialiased; smaller ones as they are."""
    if images.shape[1] <= side:
        return images
    x = F.interpolate(
        images.permute(0, 3, 1, 2).float(), (side, side), mode="bilinear", antialias=True
    )
    return x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel of [N, S, S, 3] uint8, pixels taken in [0, 1]."""
    counts = torch.stack(
        [torch.bincount(images[..., channel].flatten(), minlength=256) for channel in range(3)]
    ).double()  # [3, 256]
    values = torch.arange(256, device=images.device).double() / 255
    share = counts / counts.sum(dim=1, keepdim=True)
    mean = share @ values
    std = (share @ values.square() - mean.square()).clamp(min=1e-6).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())
