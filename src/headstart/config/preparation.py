"""Sections of prepare and resize: where images come from and how they are stored."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from headstart.config.section import Fraction, LocalOrRemotePath, Section, Seed, at_most


class DatasetOutline(BaseModel):
    """The keys that every `dataset` section has; its reader in `headstart.data.datasets` validates
    the others.

    name: of the reader. path: of the dataset's folder or file, on this machine or remote.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    path: LocalOrRemotePath


class Prepare(Section):
    """tune_fraction: of each class's training images. max_pixels: limit above which an image is
    bad. exclude: a table of the images to leave out. shards: number of parts that the dataset is
    cut into, each with files of its own.
    """

    tune_fraction: Fraction
    seed: Seed
    on_bad_image: Literal["stop", "skip"]
    max_pixels: PositiveInt
    exclude: Path
    shards: Annotated[PositiveInt, at_most(99_999, "a shard is worth it from some images on")] = 1


class Resize(Section):
    """side: of the stored images, in px. fit: crop or stretch images that are not square."""

    renamed: ClassVar = {"size": "side"}

    side: PositiveInt
    fit: Literal["crop", "stretch"]
