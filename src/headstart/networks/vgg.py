"""VGG-16 and VGG-19 as the tailored-networks paper modifies them, section 3.4 and figure 4.

For crops of 56 px, configurations D and E of Simonyan and Zisserman (2014) without the last of the
five max poolings, with fully connected layers of width 2048 instead of 4096, batch normalization
and PReLU instead of ReLU, and dropout after each fully connected layer.

Parameters: 36.7 M (VGG-16) and 40.2 M (VGG-19) in the paper; 36.1 M and 41.4 M here, with 200
classes.

Departures from the paper
    - The paper's counts can't both be those of configurations D and E: the configurations differ by
      5.3 M in their convolutions, the paper's counts by 3.5 M. We keep the configurations that its
      text names, whose counts are 1.6 % lower and 3.1 % higher.
    - "Average pooling" between convolutions and fully connected layers is taken to be to 4x4, the
      size that four padded poolings give for 56 px (and for 64 px). The first fully connected layer
      then has 8192 inputs. With pooling to 3x3 the counts would be 28.8 M and 34.1 M.
    - "1x1 filters are used to linearly transform the input" describes configuration C. D and E,
      the "16-19 weight layers" of 3x3 filters, have none.
    - PReLU has one trainable slope per channel (He et al. 2015). One per network, or one per value,
      would change the count by less than 3 %.
    - The dropout rate is not given. Here it is 0.5, that of Simonyan and Zisserman.
    - The paper says "L2 regularization" without its strength, and doesn't say how weights start.
      The recipe `tailored_adam` has the weight decay (2e-4, as an L2 term) and the variance scaling
      that the paper found best for its ResNet. Batch size and number of epochs are ours.
    - Augmentation, normalization and the tune split are as inception_resnet.py says.
"""

from torch import Tensor, nn

CONVOLUTIONS_PER_BLOCK = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Number of convolutions before each pooling, by number of weight layers: configurations D, E."""


class VGG(nn.Module):
    """[B, 3, 56, 56] float -> logits [B, num_classes].

    layers: number of weight layers, 16 or 19. hidden: width of the fully connected layers.
    """

    def __init__(
        self, num_classes: int, dropout: float = 0.5, layers: int = 16, hidden: int = 2048
    ):
        super().__init__()
        features: list[nn.Module] = []
        inputs = 3
        for outputs, convolutions in zip(
            (64, 128, 256, 512, 512), CONVOLUTIONS_PER_BLOCK[layers], strict=True
        ):
            for _ in range(convolutions):
                features.extend(
                    [
                        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                        nn.BatchNorm2d(outputs),
                        nn.PReLU(outputs),
                    ]
                )
                inputs = outputs
            features.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*features[:-1])  # without the last pooling: 28, 14, 7, 4 px
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.classifier = nn.Sequential(
            *fully_connected(512 * 4 * 4, hidden, dropout),
            *fully_connected(hidden, hidden, dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool(self.features(images))  # [B, 512, 4, 4]
        return self.classifier(features.flatten(1))


def fully_connected(inputs: int, outputs: int, dropout: float) -> list[nn.Module]:
    """Returns the layers of a fully connected block: [B, inputs] -> [B, outputs]."""
    return [
        nn.Linear(inputs, outputs, bias=False),
        nn.BatchNorm1d(outputs),
        nn.PReLU(outputs),
        nn.Dropout(dropout),
    ]
