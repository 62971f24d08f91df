"""Accuracy against the number of crops that are averaged, as a table."""

from pathlib import Path
from typing import NamedTuple

from headstart.core.atomic_files import read_tsv, tsv_writer


class CropAccuracy(NamedTuple):
    """Top-1 accuracy of the average over some number of crops.

    average: what is averaged, "probabilities" or "logits". crops: how many of them. subsets: how
    many subsets of that size were tried. mean, lowest, highest: of top-1 over those subsets.
    """

    average: str
    crops: int
    subsets: int
    mean: float
    lowest: float
    highest: float


def write_crop_accuracies(path: Path, rows: list[CropAccuracy]) -> None:
    """One row per kind of average and number of crops."""
    with tsv_writer(path) as table:
        table.writerow(CropAccuracy._fields)
        table.writerows([*row[:3], *(f"{value:.5f}" for value in row[3:])] for row in rows)


def load_crop_accuracies(path: Path) -> list[CropAccuracy]:
    """What `write_crop_accuracies` wrote to `path`, to five decimals.

    Raises:
        UserError: the file is missing.
    """
    cells = [list(row.values()) for row in read_tsv(path)]
    return [
        CropAccuracy(row[0], int(row[1]), int(row[2]), *(float(value) for value in row[3:]))
        for row in cells
    ]
