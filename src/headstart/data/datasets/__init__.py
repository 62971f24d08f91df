"""Datasets, one small reader each. A new one needs a section in params/data.py and a line below."""

from collections.abc import Callable
from typing import Any

from headstart.config import ImageFolder, PhotoPatches, Section, TinyImageNet
from headstart.data.datasets import image_folder, photo_patches, tiny_imagenet
from headstart.data.datasets.base import Box, Dataset, Record

__all__ = ["READERS", "Box", "Dataset", "Record", "load_dataset"]

READERS: dict[type[Section], Callable[[Any], Dataset]] = {
    PhotoPatches: photo_patches.load,
    TinyImageNet: tiny_imagenet.load,
    ImageFolder: image_folder.load,
}


def load_dataset(section: PhotoPatches | TinyImageNet | ImageFolder) -> Dataset:
    """The dataset that a `dataset` section of params.yaml names.

    Raises:
        UserError: it isn't there, or isn't laid out as it should be.
    """
    return READERS[type(section)](section)
