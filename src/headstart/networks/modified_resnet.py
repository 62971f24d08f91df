"""The modified ResNet of the tailored-networks paper (ResNet, Inception-ResNet and VGG tailored to
Tiny ImageNet), section 3.2 and figure 2.

A 7x7 convolution that does not stride, no max pooling behind it, four building blocks of 2n 3x3
convolutions each of which halves the size at its first layer, average pooling and one affine layer.
For crops of 56 px. n = 1 and 2 give the paper's 10 and 18 layers; it also tried filters of
(16, 32, 64, 128).

Parameters: 11.28 M in the paper, and 11.28 M here with n = 2 and 200 classes.

Departures from the paper
    - Its text leaves nothing open that changes the count. Figure 2, the drawing, is not in the
      text; that the first block halves the size too is read from "at the first layer of each
      building block", and costs 4,224 of the parameters.
    - Dropout before the classifier is ours, and off by default.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from headstart.networks.conv_blocks import conv_bn_relu


class ModifiedResNet(nn.Module):
    """[B, 3, 56, 56] float -> logits [B, num_classes].

    n: pairs of convolutions in a building block, so that there are 8n + 2 layers.
    """

    def __init__(
        self,
        num_classes: int,
        dropout: float = 0.0,
        n: int = 2,
        filters: tuple[int, ...] = (64, 128, 256, 512),
    ):
        super().__init__()
        blocks: list[nn.Module] = [conv_bn_relu(3, filters[0], 7)]
        inputs = filters[0]
        for outputs in filters:  # 28, 14, 7 and 4 px
            blocks.append(Residual(inputs, outputs, stride=2))
            blocks.extend(Residual(outputs, outputs, stride=1) for _ in range(n - 1))
            inputs = outputs
        self.features = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)  # [B, 512, 4, 4]
        return self.classifier(self.dropout(features.mean((2, 3))))


class Residual(nn.Module):
    """ReLU(shortcut(x) + F(x)), F two 3x3 convolutions (He et al. 2015, option B for shortcuts)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.residual = nn.Sequential(
            conv_bn_relu(inputs, outputs, 3, stride),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.residual(x))
