"""Reads images and transforms them to a network's inputs, one batch at a time, on its device.

Random numbers are drawn from torch's global generator, so its seed determines them.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from headstart.config import Augmentation
from headstart.store.images import Images
from headstart.training import distributed

READ_BLOCK_IMAGES = 1024
"""Number of images read at once."""


class InputTransform(Protocol):
    """What training holds in memory of each image, and how it becomes a network's input.

    shape: of the network's input for one image.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self, images: Images, rows: np.ndarray) -> Tensor:
        """Returns what is held in memory of the images at ascending `rows` [M]: [M, ...]."""
        ...

    def train_transform(self, batch: Tensor, augmentation: Augmentation, /) -> Tensor:
        """Returns random inputs [B, *shape] float32 for a batch of what `read` returned."""
        ...

    def eval_transform(self, batch: Tensor, /) -> Tensor:
        """Returns the inputs [B, *shape] float32 for a batch of what `read` returned."""
        ...


@dataclass(frozen=True)
class InputSpec:
    """A network's input: a square crop of the image, scaled to `size` px and normalized.

    crop: side of the crop relative to the image's, rounded to whole px. mean, std: of each channel,
    for pixels in [0, 1]. interpolation: `bilinear` or `bicubic`.
    """

    size: int
    crop: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    @property
    def side(self) -> int:
        """Side in px to which whole images are reduced; more pixels would not improve the crop."""
        return round(self.size / self.crop)

    @property
    def shape(self) -> tuple[int, ...]:
        return 3, self.size, self.size

    def read(self, images: Images, rows: np.ndarray) -> Tensor:
        """Returns the images at ascending `rows` [M]: [M, s, s, 3] uint8, with s at most `side`."""
        return read_pixels(images, rows, self.side, self.interpolation)

    def eval_transform(self, images: Tensor) -> Tensor:
        """Returns center crops of [B, S, S, 3] uint8 as [B, 3, size, size] float32."""
        zeros = torch.zeros(len(images), device=images.device)
        shift = torch.stack([zeros, zeros], dim=1)
        x = self._crop(images, self._crop_side(images), shift, zeros, zeros.bool())
        return self._normalize(x)

    def train_transform(self, images: Tensor, augmentation: Augmentation) -> Tensor:
        """Returns random, augmented crops of [B, S, S, 3] uint8 as [B, 3, size, size] float32.

        The steps are a random crop, mirroring, translation and rotation; then brightness, contrast
        and gamma, after each of which values are clipped to the range of pixels (tailored-networks
        paper, section 3.1; brightness: Milani, section 3.3).
        """
        batch, side, device = len(images), images.shape[1], images.device
        crop_side = self._crop_side(images)

        def sample(low: float, high: float, identity: float) -> Tensor:
            """Returns [B]: uniform in [low, high] with the augmentation's probability, or else
            `identity`."""
            values = torch.empty(batch, device=device).uniform_(low, high)
            applied = torch.rand(batch, device=device) < augmentation.probability
            return torch.where(applied, values, identity)

        # Whole pixels, because a crop alone must not blur. The margin may be odd, hence the halves.
        margin = side - crop_side
        crop_offset = torch.randint(margin + 1, (batch, 2), device=device) - margin / 2
        limit = augmentation.translation * side
        shift = torch.stack([sample(-limit, limit, 0), sample(-limit, limit, 0)], dim=1)
        angle = sample(-augmentation.rotation, augmentation.rotation, 0).deg2rad()
        mirrored = torch.rand(batch, device=device) < augmentation.flip
        x = self._crop(images, crop_side, crop_offset + shift.round(), angle, mirrored)

        brightness = sample(-augmentation.brightness, augmentation.brightness, 0)
        contrast = sample(*augmentation.contrast, 1)
        gamma = sample(*augmentation.gamma, 1)
        x = adjust_light(x, brightness, contrast, gamma)
        return self._normalize(x)

    def _crop(
        self, images: Tensor, crop_side: int, shift: Tensor, angle: Tensor, mirrored: Tensor
    ) -> Tensor:
        """Returns square crops of [B, S, S, 3] uint8 as [B, 3, size, size] in [0, 1].

        Outside of its borders an image is reflected.

        crop_side: side of the crops in px. shift: [B, 2] px right and down from the center. angle:
        [B] in radians. mirrored: [B] bool.
        """
        batch, side = images.shape[:2]
        sine, cosine, flip = angle.sin(), angle.cos(), torch.where(mirrored, -1.0, 1.0)
        scale = crop_side / side
        # From output to image coordinates, both in [-1, 1]: x' = [turn * scale * flip] x + shift
        affine = torch.stack(
            [
                torch.stack([scale * cosine * flip, -scale * sine, 2 * shift[:, 0] / side], dim=1),
                torch.stack([scale * sine * flip, scale * cosine, 2 * shift[:, 1] / side], dim=1),
            ],
            dim=1,
        )  # [B, 2, 3]
        grid = F.affine_grid(affine, [batch, 3, self.size, self.size], align_corners=False)
        x = images.permute(0, 3, 1, 2).float() / 255
        x = F.grid_sample(x, grid, self.interpolation, "reflection", align_corners=False)
        return x.clamp(0, 1)

    def _crop_side(self, images: Tensor) -> int:
        """Returns the side of a crop in px of the stored images."""
        return round(self.crop * images.shape[1])

    def _normalize(self, x: Tensor) -> Tensor:
        """Returns x [B, 3, H, W], with values in [0, 1], normalized and in channels_last layout."""
        mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (self.mean, self.std))
        return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def adjust_light(x: Tensor, brightness: Tensor, contrast: Tensor, gamma: Tensor) -> Tensor:
    """Returns images with brightness, contrast and gamma changed, clipped to [0, 1].

    Brightness is added, contrast multiplies the distance from each channel's mean, and gamma is an
    exponent.

    x: [B, 3, H, W] in [0, 1]. brightness, contrast, gamma: [B], one value per image.
    """
    brightness, contrast, gamma = (v.view(-1, 1, 1, 1) for v in (brightness, contrast, gamma))
    x = (x + brightness).clamp(0, 1)
    mean = x.mean((2, 3), keepdim=True)
    x = ((x - mean) * contrast + mean).clamp(0, 1)
    return x.pow(gamma)


def read_pixels(
    images: Images, rows: np.ndarray, side: int, interpolation: str = "bilinear"
) -> Tensor:
    """Returns the images at ascending `rows` [M]: [M, s, s, 3] uint8, with s at most `side`."""
    blocks = []
    starts = range(0, len(images), READ_BLOCK_IMAGES)
    hidden = not distributed.is_main()
    for start in tqdm(starts, desc="reading", unit="block", leave=False, disable=hidden):
        block_rows = rows[(rows >= start) & (rows < start + READ_BLOCK_IMAGES)]
        if len(block_rows):
            block = torch.from_numpy(images.pixels[start : start + READ_BLOCK_IMAGES])
            blocks.append(downscale(block[block_rows - start], side, interpolation))
    return torch.cat(blocks)


def downscale(images: Tensor, side: int, interpolation: str = "bilinear") -> Tensor:
    """Returns images [B, S, S, 3] uint8 with a side of at most `side` px.

    Interpolation is with antialiasing; smaller images are returned unchanged.
    """
    if images.shape[1] <= side:
        return images
    x = F.interpolate(
        images.permute(0, 3, 1, 2).float(), (side, side), mode=interpolation, antialias=True
    )
    return x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and standard deviation of each channel of pixels scaled to [0, 1].

    images: [N, S, S, 3] uint8.
    """
    counts = torch.stack(
        [torch.bincount(images[..., channel].flatten(), minlength=256) for channel in range(3)]
    ).double()  # [3, 256]
    values = torch.arange(256, device=images.device).double() / 255
    frequencies = counts / counts.sum(dim=1, keepdim=True)
    mean = frequencies @ values
    std = (frequencies @ values.square() - mean.square()).clamp(min=1e-6).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())
