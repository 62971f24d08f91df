"""Edirisooriya, "Residual Attention Networks for Image Classification" (2017), section 3.

Sizes of the full model at 64 px (figure 7), height x width x channels:

    convolution 3x3      64 x 64 x 64
    soft attention       64 x 64 x 64
    inception reduction  31 x 31 x 128
    residual             31 x 31 x 128
    inception reduction  15 x 15 x 320
    residual inception   15 x 15 x 320
    inception reduction   7 x  7 x 832
    average pooling       1 x  1 x 832
    affine               200

The paper's four results (figure 12) are variants of it:

    "No Attention", 48.0 %        without the mask and the last reduction
    "Attn-Simple", 46.7 %         without the last reduction
    "Attn-Reduction", 32.7 %      the full model
    "No Attention Extra", 48.2 %  "No Attention" with two affine layers at the end, and dropout that
                                  changes while training (section 5.4; recipe `edirisooriya_extra`)

Departures from the paper
    - The sizes determine that reductions are unpadded, and how many filters their two convolutional
      branches have together (64, 192, 512), but not how many each has; here both have half.
    - Batch normalization in the reductions' branches is our addition. The text names only the ReLU
      after the concatenation.
    - The residual inception module has a bottleneck of a quarter of the channels, which each branch
      keeps. Every convolution is pre-activated, as in the residual module.
    - "Without the attention mask" is read as F(x) = T(x): the trunk keeps its two residual modules.
    - Without the last reduction, the residual inception module is kept. Section 3.5 leaves out
      both, section 5 only the reduction.
    - The hidden width of the two-layer classifier is not given. Here it is 512, with ReLU, and
      dropout before each of the two layers ("the classification layer inputs").
    - How the "dropout probabilities" were modified "as training progressed" isn't said. The recipe
      `edirisooriya_extra` lets them fall linearly from the paper's 0.4 to zero (annealed dropout,
      Rennie et al. 2014).
    - The mean that is subtracted from pixels is that of the training images, one number for each
      channel; the paper says "of the test images". Pixels are in [0, 1]; the paper doesn't say
      whether they were in [0, 255]. The scale matters, because the trunk's identity path and the
      reductions' pooling have no batch normalization before them.
    - "Decayed at a rate of 0.96 every 1000 iterations" is read as a staircase.
    - Weights start as torch initializes them; the paper doesn't say how.
    - A fifth of the training images (`prepare.tune_fraction`) is held out as tune, which chooses
      the epoch. The paper trains on all and reports val.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentionInception(nn.Module):
    """[B, 3, 64, 64] float -> logits [B, num_classes].

    attention: whether the soft attention has its mask. last_reduction: whether there is a third
    reduction. classifier_hidden: hidden width of a two-layer classifier; 0 means one layer.
    """

    def __init__(
        self,
        num_classes: int,
        dropout: float = 0.4,
        attention: bool = True,
        last_reduction: bool = True,
        classifier_hidden: int = 0,
    ):
        super().__init__()
        layers: list[tuple[str, nn.Module]] = [
            ("convolution", nn.Conv2d(3, 64, 3, padding=1)),
            ("soft_attention", SoftAttention(64) if attention else make_trunk(64)),
            ("reduction_1", InceptionReduction(64, 128)),
            ("residual", ResidualModule(128)),
            ("reduction_2", InceptionReduction(128, 320)),
            ("residual_inception", ResidualInceptionModule(320, bottleneck=80)),
        ]
        if last_reduction:
            layers.append(("reduction_3", InceptionReduction(320, 832)))
        self.features = nn.Sequential(OrderedDict(layers))
        width = 832 if last_reduction else 320
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            *two_layer_classifier(width, classifier_hidden, num_classes, dropout)
            if classifier_hidden
            else [nn.Linear(width, num_classes)],
        )

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)  # [B, 832, 7, 7]
        return self.classifier(features.mean((2, 3)))


def two_layer_classifier(inputs: int, hidden: int, outputs: int, dropout: float) -> list[nn.Module]:
    """Returns the layers of the two-layer classifier of section 5.4."""
    return [nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs)]


def bn_relu_conv(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Returns the pre-activated convolution of section 3.1, which keeps height and width.

    [B, inputs, H, W] -> [B, outputs, H, W].
    """
    return nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
    )


class ResidualModule(nn.Module):
    """F(x) = x + H(x), where H is two pre-activated 3x3 convolutions (section 3.1)."""

    def __init__(self, channels: int):
        super().__init__()
        self.residual = nn.Sequential(
            bn_relu_conv(channels, channels, 3), bn_relu_conv(channels, channels, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)


class ResidualInceptionModule(nn.Module):
    """F(x) = x + H(x), where H has inception branches (section 3.2).

    The branches are a 1x1, a 3x3 and a double 3x3 convolution, each after a bottleneck; a 1x1
    convolution of their concatenation restores the number of channels.
    """

    def __init__(self, channels: int, bottleneck: int):
        super().__init__()
        self.branch1x1 = bn_relu_conv(channels, bottleneck, 1)
        self.branch3x3 = nn.Sequential(
            bn_relu_conv(channels, bottleneck, 1), bn_relu_conv(bottleneck, bottleneck, 3)
        )
        self.branch3x3dbl = nn.Sequential(
            bn_relu_conv(channels, bottleneck, 1),
            bn_relu_conv(bottleneck, bottleneck, 3),
            bn_relu_conv(bottleneck, bottleneck, 3),
        )
        self.expand = bn_relu_conv(3 * bottleneck, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = torch.cat([self.branch1x1(x), self.branch3x3(x), self.branch3x3dbl(x)], dim=1)
        return x + self.expand(branches)


class InceptionReduction(nn.Module):
    """[B, inputs, H, W] -> [B, outputs, (H - 1) // 2, (W - 1) // 2] (section 3.3).

    Three parallel branches: max pooling, a 3x3 convolution of stride 2, and two 3x3 convolutions,
    the second of stride 2.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        filters = (outputs - inputs) // 2
        self.branch3x3 = nn.Sequential(
            nn.Conv2d(inputs, filters, 3, stride=2, bias=False), nn.BatchNorm2d(filters)
        )
        self.branch3x3dbl = nn.Sequential(
            nn.Conv2d(inputs, filters, 3, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, stride=2, bias=False),
            nn.BatchNorm2d(filters),
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(x, 3, stride=2)
        return F.relu(torch.cat([pooled, self.branch3x3(x), self.branch3x3dbl(x)], dim=1))


def make_trunk(channels: int) -> nn.Sequential:
    """Returns T(x), two consecutive residual modules (section 3.4)."""
    return nn.Sequential(ResidualModule(channels), ResidualModule(channels))


class SoftAttention(nn.Module):
    """F(x) = (1 + M(x)) * T(x), where the mask M is an hourglass (section 3.4, figure 4).

    The mask's values are in (0, 1).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.trunk = make_trunk(channels)
        self.hourglass = nn.Sequential(
            nn.AvgPool2d(2), ResidualModule(channels), nn.AvgPool2d(2), ResidualModule(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        mask = F.interpolate(self.hourglass(x), size=x.shape[2:], mode="bilinear")
        return (1 + mask.sigmoid()) * self.trunk(x)
