"""The section localize."""

from typing import Annotated

from pydantic import Field, PositiveInt

from headstart.config.section import (
    Alias,
    BatchSize,
    Device,
    Epochs,
    NotNegative,
    Positive,
    Section,
    Seed,
    at_most,
)


class Localize(Section):
    """One localizer for each of `classes` on each of `backbones`.

    backbones: aliases of zoo; none is off. classes: ids or names; an empty list means all. frozen:
    whether the backbone keeps its weights. views: of each training image, the whole one and random
    crops, for a frozen backbone; another one learns from new crops in every epoch. steps: how many
    boxes the LSTM emits at most. channels: that the backbone's map is reduced to. hidden: units of
    the LSTM. dropout: of the map and of the LSTM's outputs. position_weight: α of equation 1, for
    positions relative to the image's side.
    """

    backbones: list[Alias]
    classes: list[str]
    frozen: bool
    views: Annotated[PositiveInt, at_most(1000, "each multiplies the time and the memory")]
    steps: Annotated[PositiveInt, at_most(100, "each is a step of the LSTM for every image")]
    channels: Annotated[PositiveInt, at_most(4096, "no backbone has as many")]
    hidden: Annotated[PositiveInt, at_most(4096, "no few hundred boxes can train more")]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    position_weight: Positive
    epochs: Epochs
    batch_size: Annotated[BatchSize, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NotNegative
    seed: Seed
    device: Device
