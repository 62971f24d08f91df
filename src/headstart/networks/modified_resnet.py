"""The modified ResNet of the tailored-networks paper (ResNet, Inception-ResNet and VGG tailored to
Tiny ImageNet), section 3.2 and figure 2.

For crops of 56 px: a 7x7 convolution of stride 1 without max pooling after it; four building blocks
of 2n 3x3 convolutions, each of which halves the size at its first layer; average pooling and one
affine layer. n = 1 and 2 give the paper's 10 and 18 layers; the paper also tried filters of
(16, 32, 64, 128).

Parameters: 11.28 M in the paper, and 11.28 M here with n = 2 and 200 classes.

Departures from the paper
    - The paper's text determines the parameter count, but doesn't describe figure 2. We take "at
      the first layer of each building block" to include the first block, which then has a shortcut
      with 4,224 parameters.
    - Dropout before the classifier is our addition, and off by default.
    - Batch size, number of epochs, and the patience after which the rate falls ("when validation
      error plateaus") in the recipe `tailored_sgd` are ours.
    - Augmentation, normalization and the tune split are as inception_resnet.py says.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from headstart.networks.conv_blocks import conv_bn_relu


class ModifiedResNet(nn.Module):
    """[B, 3, 56, 56] float -> logits [B, num_classes].

    n: pairs of convolutions per building block, which gives 8n + 2 layers. filters: the number of
    filters of each building block.
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
            blocks.append(ResidualBlock(inputs, outputs, stride=2))
            blocks.extend(ResidualBlock(outputs, outputs, stride=1) for _ in range(n - 1))
            inputs = outputs
        self.features = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)  # [B, 512, 4, 4]
        return self.classifier(self.dropout(features.mean((2, 3))))


class ResidualBlock(nn.Module):
    """ReLU(shortcut(x) + F(x)), where F is two 3x3 convolutions (He et al. 2015).

    Shortcuts that change the size are projections (option B of the paper).
    """

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
