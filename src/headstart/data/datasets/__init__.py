"""Datasets, one reader per file: the section of params.yaml that describes a dataset, with `load`.

A new reader needs a file here and its class in `DatasetSection`.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Discriminator

from headstart.config import DatasetOutline, Params, load_as, validate_as
from headstart.config.section import Section
from headstart.data.datasets.base import Box, Dataset, Record
from headstart.data.datasets.flowers import Flowers
from headstart.data.datasets.image_folder import ImageFolder
from headstart.data.datasets.table import Table
from headstart.data.datasets.tiny_imagenet import TinyImageNet
from headstart.data.datasets.webdataset import WebDataset

__all__ = [
    "Box",
    "Dataset",
    "DatasetSection",
    "Flowers",
    "ImageFolder",
    "Record",
    "Table",
    "TinyImageNet",
    "WebDataset",
    "check_dataset",
    "load_dataset",
    "load_params",
]

DatasetSection = Annotated[
    Flowers | TinyImageNet | ImageFolder | Table | WebDataset, Discriminator("name")
]
"""Every reader's section; `dataset.name` chooses among them."""


class _DatasetParams(Section):
    dataset: DatasetSection


class _CompleteParams(Params):
    """params.yaml with the dataset's section as its reader defines it."""

    dataset: DatasetSection  # pyright: ignore[reportIncompatibleVariableOverride]


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Reads and validates params.yaml, including the keys that the dataset's reader defines.

    Raises:
        UserError: see `config.load_as`.
    """
    return load_as(_CompleteParams, path)


def check_dataset(section: DatasetOutline) -> None:
    """Checks that the dataset is there, without listing its images; raises as `load_dataset`."""
    _reader(section).check()


def load_dataset(section: DatasetOutline) -> Dataset:
    """Loads the dataset that the `dataset` section of params.yaml describes.

    Raises:
        UserError: keys or values of the section are wrong, or the dataset is missing or not laid
            out as its reader expects it.
    """
    return _reader(section).load()


def _reader(section: DatasetOutline) -> DatasetSection:
    content = {"dataset": dict(section)}
    return validate_as(_DatasetParams, content, "params.yaml").dataset
