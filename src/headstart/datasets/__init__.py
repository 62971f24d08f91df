"""Datasets, one small reader each. A new one needs a section in params/data.py and a line below."""

from collections.abc import Callable
from typing import Any

from headstart.datasets import image_folder, photo_patches, tiny_imagenet
from headstart.datasets.contract import Box, Dataset, Record
from headstart.params import ImageFolder, PhotoPatches, Section, TinyImageNet

__all__ = ["READERS", "Box", "Dataset", "Record", "load"]

READERS: dict[type[Section], Callable[[Any], Dataset]] = {
    PhotoPatches: photo_patches.load,
    TinyImageNet: tiny_imagenet.load,
    ImageFolder: image_folder.load,
}


def load(section: PhotoPatches | TinyImageNet | ImageFolder) -> Dataset:
    """The dataset that a `dataset` section of params.yaml names.

    Raises:
        UserError: it isn't there, or isn't laid out as it should be.
    """
    return READERS[type(section)](section)
