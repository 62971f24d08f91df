"""VGG-16 and VGG-19 as the tailored-networks paper modifies them, section 3.4 and figure 4.

Simonyan and Zisserman's configurations D and E (2014) for crops of 56 px: the last of the five max
poolings left out, fully connected layers 2048 wide instead of 4096, PReLU instead of ReLU with
batch normalization before it, dropout on each fully connected layer.

Parameters: 36.7 M (VGG-16) and 40.2 M (VGG-19) in the paper; 36.1 M and 41.4 M here, with 200
classes.

Departures from the paper
    - The paper's counts can't both be those of configurations D and E: these differ by 5.3 M in
      their convolutions, the paper's figures by 3.5 M. We keep the configurations that its text
      names; the counts are then 1.6 % less and 3.1 % more.
    - "Average pooling" between convolutions and fully connected layers: to 4x4, which is what four
      padded poolings leave of 56 px (and of 64). The first fully connected layer then has 8192
      inputs; pooled to 3x3, the counts would be 28.8 M and 34.1 M.
    - "1x1 filters are used to linearly transform the input" describes configuration C; D and E,
      the "16-19 weight layers" of 3x3 filters, have none.
    - PReLU has one trainable slope a channel (He et al. 2015); one a network, or one a value, would
      change the count by less than 3 %.
    - The dropout rate is not given: 0.5, as Simonyan and Zisserman's.
"""

from torch import Tensor, nn

CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions between poolings, by number of weight layers (configurations D and E)."""


class VGG(nn.Module):
    """[B, 3, 56, 56] float -> logits [B, num_classes].

    layers: 16 or 19. hidden: the width of the fully connected layers.
    """

    def __init__(
        self, num_classes: int, dropout: float = 0.5, layers: int = 16, hidden: int = 2048
    ):
        super().__init__()
        features: list[nn.Module] = []
        inputs = 3
        for outputs, convolutions in zip(
            (64, 128, 256, 512, 512), CONVOLUTIONS[layers], strict=True
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
    return [
        nn.Linear(inputs, outputs, bias=False),
        nn.BatchNorm1d(outputs),
        nn.PReLU(outputs),
        nn.Dropout(dropout),
    ]
