"""Resizing between two fixed sides as products with constant matrices, to the bit as torch does.

Exported files hold these steps because crops are resized inside of them.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

MAX_WEIGHT = 1 << 15
"""Limit on torch's integer weights, which have 16 bits."""

MAX_PRECISION = 22
"""Limit on the number of their fractional bits."""


class FixedResize(nn.Module):
    """From [B, 3, s, s] to [B, 3, S, S], both of whole numbers in [0, 255] as float32.

    The result is that of torch's `interpolate` of uint8 with antialiasing, which rounds after each
    of the two axes (`backbones.loading.resize_tensor`).
    """

    matrix: Tensor

    def __init__(self, side: int, size: int, interpolation: Literal["bilinear", "bicubic"]) -> None:
        super().__init__()
        self.changes_nothing = side == size
        self.register_buffer("matrix", torch.from_numpy(integer_weights(side, size, interpolation)))

    def forward(self, x: Tensor) -> Tensor:
        if self.changes_nothing:
            return x
        x = torch.floor(x @ self.matrix.T + 0.5).clamp(0, 255)
        return torch.floor(self.matrix @ x + 0.5).clamp(0, 255)


class FixedDownscale(nn.Module):
    """From [B, 3, s, s] to [B, 3, S, S], as `training.image_transforms.downscale`, which rounds
    once."""

    matrix: Tensor

    def __init__(self, side: int, size: int, interpolation: str) -> None:
        super().__init__()
        self.changes_nothing = side == size
        weights = antialiased_weights(side, size, interpolation).astype(np.float32)
        self.register_buffer("matrix", torch.from_numpy(weights))

    def forward(self, x: Tensor) -> Tensor:
        if self.changes_nothing:
            return x
        return (self.matrix @ (x @ self.matrix.T)).round().clamp(0, 255)


def antialiased_weights(side: int, size: int, interpolation: str) -> np.ndarray:
    """Returns the weights [size, side] float64 of the pixels along one axis (torch's
    `UpSampleKernel.cpp`, after Pillow's `Resample.c`)."""
    scale = side / size
    stretch = max(scale, 1.0)
    support = {"bilinear": 1.0, "bicubic": 2.0}[interpolation] * stretch
    weights = np.zeros((size, side))
    for row in range(size):
        center = scale * (row + 0.5)
        first = max(int(center - support + 0.5), 0)
        last = min(int(center + support + 0.5), side)
        distance = np.abs((np.arange(first, last) + 0.5 - center) / stretch)
        values = FILTERS[interpolation](distance)
        weights[row, first:last] = values / values.sum()
    return weights


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - x, 0)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5, as Pillow's."""
    a = -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


def integer_weights(side: int, size: int, interpolation: str) -> np.ndarray:
    """Returns `antialiased_weights` rounded as torch rounds them to 16-bit integers, float32."""
    weights = antialiased_weights(side, size, interpolation)
    precision = 0
    while precision < MAX_PRECISION:
        if int(0.5 + weights.max() * (1 << (precision + 1))) >= MAX_WEIGHT:
            break
        precision += 1
    scaled = weights * (1 << precision)
    return (np.trunc(scaled + np.copysign(0.5, scaled)) / (1 << precision)).astype(np.float32)
