"""Milani, "The Power of Inception: Tackling the Tiny ImageNet Challenge" (2017), section 3.1.

Inception-v3's layers (Szegedy et al. 2015, "Rethinking the Inception Architecture", figures 5, 6, 7
and 10), fewer and narrower, for images of 64 px: no side classifier, batch normalization before
every ReLU, and dropout only in the "Regularized" run (0.2; the "Baseline" has none).

Departures from the paper
    - The paper's text doesn't describe figure 3(b), the architecture. Grids of 32, 16 and 8 px are
      the nearest to Inception-v3's 35, 17 and 8, so the stem halves the image once.
    - Number of layers ("shallower"): the stem has 3 convolutions (Inception-v3: 6), and there are
      2, 2 and 1 layers of types 1, 2 and 3, still one type per grid. Inception-v3 has 3, 4 and 2
      of them, and two reductions; the paper counts "a total of 12" where these are 11.
    - Number of filters ("narrower"): half of Inception-v3's in every branch.
    - Both reductions are the "inception dim" layer of figure 4(d). Inception-v3's second reduction
      differs from its first, but the paper names a single design.
    - The ranges of brightness and contrast in the recipe `milani_regularized` ("randomly adjusted")
      are those of TensorFlow's own preprocessing for Inception: at most 32 / 255, and 0.5 to 1.5.
      They are drawn for each image.
    - The weight decay of 0.08 is an L2 term in Adam, whose gradient is 0.08 w. The paper doesn't
      say how its own entered the loss; with TensorFlow's `l2_loss` the gradient would be the same.
    - Weights start as torch initializes them; pixels are normalized by mean and standard deviation
      of the training images. The paper says nothing of either.
    - A fifth of the training images (`prepare.tune_fraction`) is held out as tune, which chooses
      the epoch, the snapshots and their number. The paper trains on all and chooses on val. It
      saves weights "after some number of training steps"; here after every 200 (`snapshot_steps`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.networks.conv_blocks import conv_bn_relu


class MiniInception(nn.Module):
    """[B, 3, 64, 64] float -> logits [B, num_classes]; any size of at least 8 px works."""

    def __init__(self, num_classes: int, dropout: float = 0.0):
        super().__init__()
        self.features = nn.Sequential(
            conv_bn_relu(3, 32, 3),  # 64 px
            conv_bn_relu(32, 32, 3),
            conv_bn_relu(32, 64, 3),
            nn.MaxPool2d(3, stride=2, padding=1),  # 32 px
            InceptionType1(64, pool_filters=16),  # 128 channels
            InceptionType1(128, pool_filters=32),  # 144
            InceptionDim(144, branch3x3=(144, 192), branch3x3dbl=(32, 48)),  # 16 px, 384
            InceptionType2(384, bottleneck=64),  # 384
            InceptionType2(384, bottleneck=80),  # 384
            InceptionDim(384, branch3x3=(96, 160), branch3x3dbl=(96, 96)),  # 8 px, 640
            InceptionType3(640),  # 1024
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(1024, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)  # [B, 1024, 8, 8]
        return self.classifier(self.dropout(features.mean((2, 3))))


class InceptionType1(nn.Module):
    """Figure 4(a): 1x1, 3x3, double 3x3 and pooled 1x1 branches; keeps height and width."""

    def __init__(self, inputs: int, pool_filters: int):
        super().__init__()
        self.branch3x3 = nn.Sequential(conv_bn_relu(inputs, 24, 1), conv_bn_relu(24, 32, 3))
        self.branch3x3dbl = nn.Sequential(
            conv_bn_relu(inputs, 32, 1), conv_bn_relu(32, 48, 3), conv_bn_relu(48, 48, 3)
        )
        self.branch_pool = pooled_1x1(inputs, pool_filters)
        self.branch1x1 = conv_bn_relu(inputs, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [self.branch1x1(x), self.branch3x3(x), self.branch3x3dbl(x), self.branch_pool(x)], dim=1
        )


class InceptionType2(nn.Module):
    """Figure 4(b), n = 7: the branches' n x n kernels are factorized into 1 x n and n x 1."""

    def __init__(self, inputs: int, bottleneck: int, filters: int = 96, n: int = 7):
        super().__init__()
        self.branch3x3 = nn.Sequential(
            conv_bn_relu(inputs, bottleneck, 1),
            conv_bn_relu(bottleneck, bottleneck, (1, n)),
            conv_bn_relu(bottleneck, filters, (n, 1)),
        )
        self.branch3x3dbl = nn.Sequential(
            conv_bn_relu(inputs, bottleneck, 1),
            conv_bn_relu(bottleneck, bottleneck, (1, n)),
            conv_bn_relu(bottleneck, bottleneck, (n, 1)),
            conv_bn_relu(bottleneck, bottleneck, (1, n)),
            conv_bn_relu(bottleneck, filters, (n, 1)),
        )
        self.branch_pool = pooled_1x1(inputs, filters)
        self.branch1x1 = conv_bn_relu(inputs, filters, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [self.branch1x1(x), self.branch3x3(x), self.branch3x3dbl(x), self.branch_pool(x)], dim=1
        )


class InceptionType3(nn.Module):
    """Figure 4(c): parallel 1x3 and 3x1 convolutions in the branches; returns 1024 channels."""

    def __init__(self, inputs: int):
        super().__init__()
        self.branch3x3 = conv_bn_relu(inputs, 192, 1)
        self.branch3x3_1x3 = conv_bn_relu(192, 192, (1, 3))
        self.branch3x3_3x1 = conv_bn_relu(192, 192, (3, 1))
        self.branch3x3dbl = nn.Sequential(conv_bn_relu(inputs, 224, 1), conv_bn_relu(224, 192, 3))
        self.branch3x3dbl_1x3 = conv_bn_relu(192, 192, (1, 3))
        self.branch3x3dbl_3x1 = conv_bn_relu(192, 192, (3, 1))
        self.branch_pool = pooled_1x1(inputs, 96)
        self.branch1x1 = conv_bn_relu(inputs, 160, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch3x3, branch3x3dbl = self.branch3x3(x), self.branch3x3dbl(x)
        branches = [
            self.branch1x1(x),
            self.branch3x3_1x3(branch3x3),
            self.branch3x3_3x1(branch3x3),
            self.branch3x3dbl_1x3(branch3x3dbl),
            self.branch3x3dbl_3x1(branch3x3dbl),
            self.branch_pool(x),
        ]
        return torch.cat(branches, dim=1)


class InceptionDim(nn.Module):
    """Figure 4(d): halves the size, [B, inputs, H, W] -> [B, inputs + filters, H/2, W/2].

    branch3x3, branch3x3dbl: the numbers of filters of the branch's 1x1 convolution and of its 3x3
    convolutions.
    """

    def __init__(self, inputs: int, branch3x3: tuple[int, int], branch3x3dbl: tuple[int, int]):
        super().__init__()
        self.branch3x3 = nn.Sequential(
            conv_bn_relu(inputs, branch3x3[0], 1), conv_bn_relu(*branch3x3, 3, stride=2)
        )
        self.branch3x3dbl = nn.Sequential(
            conv_bn_relu(inputs, branch3x3dbl[0], 1),
            conv_bn_relu(*branch3x3dbl, 3),
            conv_bn_relu(branch3x3dbl[1], branch3x3dbl[1], 3, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(x, 3, stride=2, padding=1)
        return torch.cat([self.branch3x3(x), self.branch3x3dbl(x), pooled], dim=1)


def pooled_1x1(inputs: int, outputs: int) -> nn.Sequential:
    """Returns the pooling branch: 3x3 average pooling and a 1x1 convolution; keeps the size."""
    return nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), conv_bn_relu(inputs, outputs, 1))
