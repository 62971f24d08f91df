"""The modified Inception-ResNet of the tailored-networks paper, section 3.3 and figure 3.

Inception-ResNet-v2 (Szegedy et al. 2016, figures 3, 7, 16, 17) cut down for crops of 56 px: a stem
with parallel convolutions, n modules A, one reduction, 2n modules B, average pooling, dropout 0.5
and one affine layer; batch normalization after every convolution; residuals scaled by 0.1.

Parameters: 8.3 M in the paper, and 8.3 M here with n = 2 and 200 classes.

Departures from the paper
    - The paper's text doesn't describe figure 3. Modules A and B and the stem have the filters of
      Inception-ResNet-v2, which the paper's remark on "1154x1x1" and "64x3x3" filters confirms.
      n = 2 is the only depth near 8.3 M parameters.
    - The reduction's double branch has 192 and 208 filters before its last convolution (v2: 256
      and 256), chosen to match the parameter count; the last convolutions of the two branches have
      384 and 386 filters, which gives the depth of 1154 that the paper names.
    - The stem's first convolution has stride 1 and all are padded, so images of 56 px become maps
      of 14 px for modules A and 7 px for modules B. The strides of Inception-ResNet-v2, whose maps
      have 35 and 17 px, would reduce so small an image to nothing.
    - The recipe `tailored_rmsprop` has the paper's RMSProp, as TensorFlow 1 computes it. Weight
      decay (2e-4) and initialization (variance scaling) are those that the paper found best for its
      ResNet; for this network it gives neither. Batch size and number of epochs are ours.
    - The augmentation's translation and rotation are "random" in the paper; ours go up to a tenth
      of the side and 15 degrees. Each is applied to an image with probability 0.5 ("in a random
      fashion"). The contrast factor is drawn for each image; the paper says "at every batch".
      Contrast scales the distance from each channel's mean.
    - Pixels are normalized by mean and standard deviation of the training images; the paper doesn't
      say how.
    - A fifth of the training images (`prepare.tune_fraction`) is held out as tune, which chooses
      the epoch and when the rate falls. The paper trains on all and watches val.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.networks.conv_blocks import conv_bn_relu


class InceptionResNet(nn.Module):
    """[B, 3, 56, 56] float -> logits [B, num_classes].

    n: number of modules A, and half the number of modules B. residual_scale: factor of residuals.
    """

    def __init__(
        self, num_classes: int, dropout: float = 0.5, n: int = 2, residual_scale: float = 0.1
    ):
        super().__init__()
        self.features = nn.Sequential(
            Stem(),  # 14 px, 384 channels
            *(ModuleA(384, residual_scale) for _ in range(n)),
            Reduction(384),  # 7 px, 1154 channels
            *(ModuleB(1154, residual_scale) for _ in range(2 * n)),
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(1154, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)  # [B, 1154, 7, 7]
        return self.classifier(self.dropout(features.mean((2, 3))))


class Stem(nn.Module):
    """[B, 3, H, W] -> [B, 384, H/4, W/4], with two parallel branches in three places."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Sequential(
            conv_bn_relu(3, 32, 3), conv_bn_relu(32, 32, 3), conv_bn_relu(32, 64, 3)
        )
        self.downsample_1 = conv_bn_relu(64, 96, 3, stride=2)
        self.branch3x3 = nn.Sequential(conv_bn_relu(160, 64, 1), conv_bn_relu(64, 96, 3))
        self.branch7x7 = nn.Sequential(
            conv_bn_relu(160, 64, 1),
            conv_bn_relu(64, 64, (7, 1)),
            conv_bn_relu(64, 64, (1, 7)),
            conv_bn_relu(64, 96, 3),
        )
        self.downsample_2 = conv_bn_relu(192, 192, 3, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.entry(images)  # [B, 64, 56, 56]
        x = torch.cat([max_pool(x), self.downsample_1(x)], dim=1)  # [B, 160, 28, 28]
        x = torch.cat([self.branch3x3(x), self.branch7x7(x)], dim=1)  # [B, 192, 28, 28]
        return torch.cat([max_pool(x), self.downsample_2(x)], dim=1)  # [B, 384, 14, 14]


class ScaledResidual(nn.Module):
    """ReLU(x + scale * expand(concatenated branches)), the structure of modules A and B.

    concatenated: number of channels of all branches together.
    """

    def __init__(self, channels: int, scale: float, branches: list[nn.Module], concatenated: int):
        super().__init__()
        self.scale = scale
        self.branches = nn.ModuleList(branches)
        self.expand = nn.Sequential(
            nn.Conv2d(concatenated, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        branches = torch.cat([branch(x) for branch in self.branches], dim=1)
        return F.relu(x + self.scale * self.expand(branches))


class ModuleA(ScaledResidual):
    """Inception-ResNet-A, with 1x1, 3x3 and double 3x3 branches."""

    def __init__(self, channels: int, scale: float):
        branches: list[nn.Module] = [
            conv_bn_relu(channels, 32, 1),
            nn.Sequential(conv_bn_relu(channels, 32, 1), conv_bn_relu(32, 32, 3)),
            nn.Sequential(
                conv_bn_relu(channels, 32, 1), conv_bn_relu(32, 48, 3), conv_bn_relu(48, 64, 3)
            ),
        ]
        super().__init__(channels, scale, branches, concatenated=32 + 32 + 64)


class ModuleB(ScaledResidual):
    """Inception-ResNet-B, with a 1x1 branch and a 7x7 branch factorized into 1x7 and 7x1."""

    def __init__(self, channels: int, scale: float):
        branches: list[nn.Module] = [
            conv_bn_relu(channels, 192, 1),
            nn.Sequential(
                conv_bn_relu(channels, 128, 1),
                conv_bn_relu(128, 160, (1, 7)),
                conv_bn_relu(160, 192, (7, 1)),
            ),
        ]
        super().__init__(channels, scale, branches, concatenated=192 + 192)


class Reduction(nn.Module):
    """Inception-ResNet's reduction: [B, inputs, H, W] -> [B, inputs + 770, H/2, W/2]."""

    def __init__(self, inputs: int):
        super().__init__()
        self.branch3x3 = conv_bn_relu(inputs, 384, 3, stride=2)
        self.branch3x3dbl = nn.Sequential(
            conv_bn_relu(inputs, 192, 1),
            conv_bn_relu(192, 208, 3),
            conv_bn_relu(208, 386, 3, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([max_pool(x), self.branch3x3(x), self.branch3x3dbl(x)], dim=1)


def max_pool(x: Tensor) -> Tensor:
    """Halves the size of x [B, C, H, W] by max pooling."""
    return F.max_pool2d(x, 3, stride=2, padding=1)
