"""What `localize` writes of a backbone: metrics, boxes, training curves, and pictures to show.

In <results>/localization/<backbone>/:
    metrics.json   of every class, and their mean: see `localization.localizing`
    boxes.tsv      one row per box of val: what is there, and what each method located
    training.tsv   one row per epoch of each class
    pictures.h5    some val images of each class: /pixels [M, S, S, 3] uint8, /id [M]
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from headstart.core.atomic_files import read_tsv, tsv_writer
from headstart.core.hdf5_files import create_hdf5, get_dataset, open_hdf5

TRUTH = "truth"
LOCALIZER = "localizer"
BASELINES = {"ridge": "ridge regression", "mean_box": "the mean box"}
"""The methods that a localizer is compared with, and how the report names them."""


class BoxRow(NamedTuple):
    """A box of an image.

    id: of the image. class_id: of its class. source: `TRUTH`, `LOCALIZER` or one of `BASELINES`.
    x0, y0, x1, y1: in px of the stored image. score: the localizer's confidence, 1 for the others.
    emitted: 1, or 0 for a box whose score is below the localizer's threshold.
    """

    id: str
    class_id: str
    source: str
    x0: float
    y0: float
    x1: float
    y1: float
    score: float
    emitted: int


class LocalizerEpoch(NamedTuple):
    """The mean losses of equation 1 per image, and the mean IoU of the first box on tune."""

    class_id: str
    epoch: int
    train_loss: float
    tune_loss: float
    tune_iou: float


class Picture(NamedTuple):
    """An image to show. pixels: [S, S, 3] uint8."""

    id: str
    pixels: np.ndarray


def write_boxes(path: Path, rows: list[BoxRow]) -> None:
    """Writes one row per box."""
    with tsv_writer(path) as table:
        table.writerow(BoxRow._fields)
        for row in rows:
            edges = (f"{edge:.2f}" for edge in row[3:7])
            table.writerow([*row[:3], *edges, f"{row.score:.5f}", row.emitted])


def load_boxes(path: Path) -> list[BoxRow]:
    """Reads what `write_boxes` wrote, to its digits.

    Raises:
        UserError: the file is missing.
    """
    rows = []
    for cells in (list(row.values()) for row in read_tsv(path)):
        numbers = map(float, cells[3:8])
        rows.append(BoxRow(*cells[:3], *numbers, int(cells[8])))  # pyright: ignore[reportCallIssue]
    return rows


def write_localizer_curves(path: Path, epochs: list[LocalizerEpoch]) -> None:
    """Writes one row per epoch of each class."""
    with tsv_writer(path) as table:
        table.writerow(LocalizerEpoch._fields)
        table.writerows([*row[:2], *(f"{value:.5g}" for value in row[2:])] for row in epochs)


def write_pictures(path: Path, pictures: list[Picture]) -> None:
    """Writes pictures, all of one size."""
    with create_hdf5(path) as file:
        file.create_dataset("pixels", data=np.stack([picture.pixels for picture in pictures]))
        file.create_dataset("id", data=np.array([picture.id.encode() for picture in pictures]))


def load_pictures(path: Path) -> list[Picture]:
    """Reads what `write_pictures` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    with open_hdf5(path) as file:
        ids = [id_.decode() for id_ in get_dataset(file, "id")[:]]
        return list(map(Picture, ids, get_dataset(file, "pixels")[:]))
