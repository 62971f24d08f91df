"""Inan, "Exploring Methods on Tiny ImageNet Problem" (2017), section 3 and figure 2.

A pretrained ResNet-18 whose last two stages are read by LSTMs. The channel maps of conv4 (256 of
14x14) and conv5 (512 of 7x7) are taken as sequences along the channels, split into 4 and 8 of
length 64. Each of these twelve sequences has its own LSTM, whose hidden size is the number of
pixels of a map (196 and 49). Their last hidden states, 4 * 196 + 8 * 49 = 1,176 values, are the
input of one affine layer.

Departures from the paper
    - The paper names ResNet and draws 18 layers. The trunk is He et al.'s ResNet-18 with the
      parameter names of torchvision and timm, so `trunk.load_state_dict(weights, strict=False)`
      loads their pretrained weights.
    - "We first kept all the convolutional layers constant" is taken to include their batch
      normalization. The paper gives neither the length of that phase nor the optimizers of both
      phases; the recipes `inan_first`, which ends when tune accuracy stops rising, and `inan` are
      ours.
    - A sequence is consecutive channels in order; the paper doesn't say how they are grouped. It
      says that sequences of length 128 and LSTMs on earlier layers "gave similar performances", but
      not which layers; `sequence_length` and `layers` choose them, and `resnet_lstm_earlier` in
      params.yaml adds conv3.
    - Learning rates, batch size, mirroring, and training with Adam are ours; the paper gives none.
    - A fifth of the training images (`prepare.tune_fraction`) is held out as tune, which chooses
      the epoch and ends the first phase. The paper trains on all and watches val.
    - Input sizes other than 224 px (the hidden sizes follow from the input size) and dropout, which
      is off by default, are our additions.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = {2: 64, 3: 128, 4: 256, 5: 512}
"""Number of channels of conv2 to conv5; convN is 2**N times smaller than the image."""


class ResNetLSTM(nn.Module):
    """[B, 3, side, side] float -> logits [B, num_classes].

    side: input size in px, a multiple of 32. sequence_length: channels per sequence. layers: those
    that LSTMs read, 2 to 5 for conv2 to conv5. The parameters of an LSTM grow with the fourth power
    of its maps' side: 4.9 M on conv3 at 224 px, 79 M on conv2.

    Raises:
        ValueError: there is no such layer, or it can't be split into sequences of that length.
    """

    def __init__(
        self,
        num_classes: int,
        dropout: float = 0.0,
        side: int = 224,
        sequence_length: int = 64,
        layers: Sequence[int] = (4, 5),
    ):
        super().__init__()
        for layer in layers:
            if layer not in CHANNELS or CHANNELS[layer] % sequence_length:
                raise ValueError(
                    f"layer {layer} can't be split into sequences of {sequence_length} channels; "
                    f"the layers' channels are {CHANNELS}"
                )
        self.trunk = ResNet18Trunk()
        self.layers, self.sequence_length = tuple(layers), sequence_length
        hidden_sizes = [
            (side // 2**layer) ** 2
            for layer in layers
            for _ in range(CHANNELS[layer] // sequence_length)
        ]
        self.lstms = nn.ModuleList(nn.LSTM(size, size, batch_first=True) for size in hidden_sizes)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(sum(hidden_sizes), num_classes)

    def train(self, mode: bool = True) -> Self:
        """Sets training mode; a frozen trunk stays in evaluation mode and keeps its statistics."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.trunk.parameters()):
            self.trunk.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        maps = self.trunk(images)
        # By default 4 of [B, 64, 196] from conv4, then 8 of [B, 64, 49] from conv5
        sequences = [
            sequence
            for layer in self.layers
            for sequence in maps[layer - 2].flatten(2).split(self.sequence_length, dim=1)
        ]
        last_hidden = [
            lstm(sequence)[1][0][0] for lstm, sequence in zip(self.lstms, sequences, strict=True)
        ]
        return self.classifier(self.dropout(torch.cat(last_hidden, dim=1)))  # from [B, 1176]


class ResNet18Trunk(nn.Module):
    """[B, 3, H, W] -> the maps of conv2 to conv5, [B, 64, H/4, W/4] to [B, 512, H/32, W/32]."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        conv2 = self.layer1(self.maxpool(F.relu(self.bn1(self.conv1(images)))))
        conv3 = self.layer2(conv2)
        conv4 = self.layer3(conv3)
        return conv2, conv3, conv4, self.layer4(conv4)


class BasicBlock(nn.Module):
    """ReLU(shortcut(x) + F(x)), where F is two 3x3 convolutions (He et al. 2015, figure 5)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.downsample(x) + residual)
