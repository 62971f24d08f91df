"""`InputSpec.eval_transform` as two products with constant matrices.

Every exporter and every runtime supports these; few support `grid_sample`.
"""

import torch
from torch import Tensor, nn

from headstart.training.image_transforms import InputSpec


class CentralCrop(nn.Module):
    """From images [B, 3, side, side] to their central crops [B, 3, size, size].

    Interpolation is bilinear; outside of its borders an image is continued by its border. Because
    the weights of each pixel sum to 1, the images may be normalized before or afterwards.
    """

    matrix: Tensor

    def __init__(self, side: int, spec: InputSpec) -> None:
        super().__init__()
        self.register_buffer("matrix", crop_matrix(side, spec))
        self.changes_nothing = bool(torch.equal(self.matrix, torch.eye(side)))

    def forward(self, x: Tensor) -> Tensor:
        return x if self.changes_nothing else self.matrix @ x @ self.matrix.T


def crop_matrix(side: int, spec: InputSpec) -> Tensor:
    """Returns the weights [size, side] of the pixels along one axis."""
    crop_side = round(spec.crop * side)
    # In px, from the center of pixel 0.
    step = crop_side / spec.size
    positions = (torch.arange(spec.size, dtype=torch.float64) + 0.5) * step
    positions = (positions + (side - crop_side) / 2 - 0.5).clamp(0, side - 1)
    below = positions.floor().long().clamp(max=max(side - 2, 0))
    fraction = positions - below
    rows = torch.arange(spec.size)
    matrix = torch.zeros(spec.size, side, dtype=torch.float64)
    matrix[rows, below] += 1 - fraction
    matrix[rows, (below + 1).clamp(max=side - 1)] += fraction
    return matrix.float()
