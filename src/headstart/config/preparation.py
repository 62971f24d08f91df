"""Sections of prepare and resize: where images come from and how they are stored."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import PositiveInt

from headstart.config.section import Fraction, Section, Seed


class PhotoPatches(Section):
    """The embedded default: patches of the photographs that ship with two libraries."""

    name: Literal["photo_patches"]
    path: Path


class TinyImageNet(Section):
    """The official layout, as a folder or a .zip; downloaded into a folder that lacks it."""

    name: Literal["tiny_imagenet"]
    path: Path


class ImageFolder(Section):
    """`train/<class>/*` with optional `val` and `test`, or one folder of classes.

    val_fraction, seed: of each class's training images, where there is no `val`. follow_links: also
    those that lead out of `path`.
    """

    name: Literal["image_folder"]
    path: Path
    val_fraction: Fraction = 0.2
    seed: Seed = 0
    follow_links: bool = False


class Prepare(Section):
    """tune_fraction: of each class's training images. max_pixels: with more, an image is bad."""

    tune_fraction: Fraction
    seed: Seed
    on_bad_image: Literal["stop", "skip"]
    max_pixels: PositiveInt


class Resize(Section):
    """side: of the stored images, in px. fit: what becomes of an image that is not square."""

    renamed: ClassVar = {"size": "side"}

    side: PositiveInt
    fit: Literal["crop", "stretch"]
