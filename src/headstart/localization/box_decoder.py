"""The decoder: an LSTM that emits a box and a confidence at every step."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Candidates(NamedTuple):
    """The boxes that the LSTM emits for B images in K steps.

    positions: [B, K, 4], of each box the center's x and y, width and height, relative to the
    image's side. confidence_logits: [B, K].
    """

    positions: Tensor
    confidence_logits: Tensor


class BoxDecoder(nn.Module):
    """Feature maps [B, C, h, w] -> candidates in `steps` steps (section 3.5).

    The whole map, reduced to `channels` by a 1x1 convolution and then to `hidden` values by one
    affine layer, is the LSTM's input at every step; what it has already emitted it knows from its
    state.

    map_shape: (C, h, w). hidden: units of the LSTM. dropout: of whole channels of the reduced map,
    and of the LSTM's outputs.

    Departures from the paper
        - Its code, TensorBox, runs one LSTM for every cell of a grid over a large photograph. The
          text has one sequence of boxes per image, and so have we: an image of 64 px is about one
          cell.
        - Not stated are the encoder, the sizes of the layers, α and the number of steps. TensorBox
          has 5 steps and its paper 250 units, which are our defaults.
    """

    def __init__(
        self,
        map_shape: tuple[int, int, int],
        steps: int,
        channels: int,
        hidden: int,
        dropout: float,
    ):
        super().__init__()
        depth, height, width = map_shape
        self.steps = steps
        self.reduce = nn.Sequential(
            nn.BatchNorm2d(depth),
            nn.Conv2d(depth, channels, 1),
            nn.ReLU(),
            nn.Dropout2d(dropout),
            nn.Flatten(),
            nn.Linear(channels * height * width, hidden),
            nn.ReLU(),
        )
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.position = nn.Linear(hidden, 4)
        self.confidence = nn.Linear(hidden, 1)

    def forward(self, maps: Tensor) -> Candidates:
        reduced = self.reduce(maps.float())  # [B, hidden]
        outputs, _ = self.lstm(reduced[:, None].expand(-1, self.steps, -1))
        outputs = self.dropout(outputs)  # [B, K, hidden]
        return Candidates(self.position(outputs), self.confidence(outputs)[..., 0])


def stopped_confidences(confidence_logits: Tensor) -> Tensor:
    """Returns the highest threshold at which each box is still emitted: [B, K] in [0, 1].

    The first box below the threshold is the stop symbol, so this is the lowest confidence up to
    the box's step.
    """
    return torch.sigmoid(confidence_logits.double()).cummin(dim=1).values
