"""`InputSpec.eval_transform` as two products with constant matrices.

Every exporter and every runtime supports these; few support `grid_sample`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.training.image_transforms import InputSpec


class CentralCrop(nn.Module):
    """From normalized images [B, 3, side, side] to their central crops [B, 3, size, size].

    Because the weights of each pixel sum to 1, cropping after normalization gives the same as
    before. Bicubic interpolation overshoots; its values are clipped to those of black and white.
    """

    matrix: Tensor
    black: Tensor
    white: Tensor

    def __init__(self, side: int, spec: InputSpec) -> None:
        super().__init__()
        self.register_buffer("matrix", crop_matrix(side, spec))
        self.changes_nothing = bool(torch.equal(self.matrix, torch.eye(side)))
        self.overshoots = spec.interpolation != "bilinear"
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
        self.register_buffer("black", (0 - mean) / std)
        self.register_buffer("white", (1 - mean) / std)

    def forward(self, x: Tensor) -> Tensor:
        if self.changes_nothing:
            return x
        x = self.matrix @ x @ self.matrix.T
        return torch.minimum(torch.maximum(x, self.black), self.white) if self.overshoots else x


def crop_matrix(side: int, spec: InputSpec) -> Tensor:
    """Returns the weights [size, side] of the pixels along one axis: crops of one-hot lines."""
    scale = round(spec.crop * side) / side
    lines = torch.eye(side)[:, None, None]  # [side, 1, 1, side]
    affine = torch.tensor([[scale, 0, 0], [0, 1, 0]]).expand(side, 2, 3)
    grid = F.affine_grid(affine, [side, 1, 1, spec.size], align_corners=False)
    weights = F.grid_sample(lines, grid, spec.interpolation, "reflection", align_corners=False)
    return weights[:, 0, 0].T.contiguous()
