"""Inan, "Exploring Methods on Tiny ImageNet Problem" (2017), section 3 and figure 2.

A pretrained ResNet-18 whose last two stages are read by LSTMs. The channel maps of conv4 (256 of
14x14) and conv5 (512 of 7x7) are sequences in depth, cut into 4 and 8 of length 64; each of the
twelve has an LSTM with as many hidden values as a map has pixels (196 and 49); their last hidden
states, 4 * 196 + 8 * 49 = 1,176 values, go into one affine layer.

Departures from the paper
    - It names ResNet and draws 18 layers; the trunk is He et al.'s ResNet-18, under the parameter
      names that torchvision and timm use, so that `load_state_dict(weights, strict=False)` on
      `trunk` takes their pretrained weights.
    - "We first kept all the convolutional layers constant": their batch normalization as well. How
      long that phase took, its optimizer and the next phase's are not in the text; the recipes
      `inan_first`, which ends where tune accuracy is flat, and `inan` are ours.
    - Sequences are consecutive channels, read in order; the text doesn't say how they are grouped.
    - Other sizes than 224 px are ours (the hidden sizes follow), as is dropout, off by default.
"""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SEQUENCE_LENGTH = 64


class ResNetLSTM(nn.Module):
    """[B, 3, side, side] float -> logits [B, num_classes]. side: a multiple of 32."""

    def __init__(self, num_classes: int, dropout: float = 0.0, side: int = 224):
        super().__init__()
        self.trunk = ResNet18Trunk()
        maps = [(256, (side // 16) ** 2), (512, (side // 32) ** 2)]
        hidden_sizes = [
            pixels for channels, pixels in maps for _ in range(channels // SEQUENCE_LENGTH)
        ]
        self.lstms = nn.ModuleList(nn.LSTM(size, size, batch_first=True) for size in hidden_sizes)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(sum(hidden_sizes), num_classes)

    def train(self, mode: bool = True) -> Self:
        """A trunk that doesn't learn stays constant, with the statistics that it came with."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.trunk.parameters()):
            self.trunk.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        conv4, conv5 = self.trunk(images)  # [B, 256, 14, 14], [B, 512, 7, 7]
        # 4 of [B, 64, 196], then 8 of [B, 64, 49]
        sequences = [
            *conv4.flatten(2).split(SEQUENCE_LENGTH, dim=1),
            *conv5.flatten(2).split(SEQUENCE_LENGTH, dim=1),
        ]
        last = [
            lstm(sequence)[1][0][0] for lstm, sequence in zip(self.lstms, sequences, strict=True)
        ]
        return self.classifier(self.dropout(torch.cat(last, dim=1)))  # of [B, 1176]


class ResNet18Trunk(nn.Module):
    """[B, 3, H, W] -> conv4 [B, 256, H/16, W/16] and conv5 [B, 512, H/32, W/32]."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.maxpool(F.relu(self.bn1(self.conv1(images))))
        conv4 = self.layer3(self.layer2(self.layer1(x)))
        return conv4, self.layer4(conv4)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015, figure 5)."""

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
