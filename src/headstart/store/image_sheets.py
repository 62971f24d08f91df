"""Sheets of captioned images, which the report draws."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.hdf5_files import create_hdf5, get_dataset, open_hdf5, read_json, write_json


@dataclass(frozen=True)
class ImageSheet:
    """Images in a grid.

    images: N of [h, w, 3] uint8, of any sizes. captions: N. columns: images in a row.
    """

    images: list[np.ndarray]
    captions: list[str]
    columns: int


def save_sheet(path: Path, sheet: ImageSheet) -> None:
    """Writes a sheet to an HDF5 file at `path`; raises what `create_hdf5` raises."""
    with create_hdf5(path) as file:
        for number, image in enumerate(sheet.images):
            file.create_dataset(f"image_{number:03d}", data=image)
        write_json(file, "captions", sheet.captions)
        write_json(file, "columns", sheet.columns)


def load_sheet(path: Path) -> ImageSheet:
    """What `save_sheet` wrote to `path`.

    Raises:
        UserError: the file is missing or isn't one of a sheet.
    """
    with open_hdf5(path) as file:
        captions = read_json(file, "captions")
        images = [get_dataset(file, f"image_{number:03d}")[:] for number in range(len(captions))]
        return ImageSheet(images, captions, read_json(file, "columns"))
