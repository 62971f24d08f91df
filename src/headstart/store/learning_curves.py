"""Tables of learning curves: accuracy against the number of training images per class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from headstart.core.atomic_files import read_tsv, tsv_writer
from headstart.core.errors import UserError


class LearningCurvePoint(NamedTuple):
    """The accuracy of heads that were trained on at most `images_per_class` images of each class.

    train_images: their total number. subsets: number of random choices of training images.
    top1: mean accuracy over the subsets on the whole images of val. low, high: its bootstrap
    interval over val images. lowest, highest: its range over the subsets.
    """

    images_per_class: int
    train_images: int
    subsets: int
    top1: float
    low: float
    high: float
    lowest: float
    highest: float


LearningCurve = list[LearningCurvePoint]


def write_learning_curve(path: Path, curve: LearningCurve) -> None:
    """Writes one row per point, tab-separated, with a header."""
    with tsv_writer(path) as table:
        table.writerow(LearningCurvePoint._fields)
        table.writerows(map(_format_point, curve))


def load_learning_curves(folder: Path, runs: Sequence[str]) -> dict[str, LearningCurve]:
    """Reads the curve of each of `runs` from `<run>.tsv`; other files in the folder are ignored.

    Raises:
        UserError: one of them is missing.
    """
    curves = {}
    for run in runs:
        path = folder / f"{run}.tsv"
        if not path.exists():
            raise UserError(f"run {run} has no learning curve at {path}; `dvc repro` makes it")
        rows = [list(row.values()) for row in read_tsv(path)]
        curves[run] = [LearningCurvePoint(*map(int, row[:3]), *map(float, row[3:])) for row in rows]
    return curves


def write_learning_curves(path: Path, curves: Mapping[str, LearningCurve]) -> None:
    """Writes one table of all runs; only its header if there are none."""
    with tsv_writer(path) as table:
        table.writerow(["run", *LearningCurvePoint._fields])
        table.writerows(
            [run, *_format_point(point)] for run, curve in curves.items() for point in curve
        )


def _format_point(point: LearningCurvePoint) -> list[Any]:
    return [*point[:3], *(f"{value:.5f}" for value in point[3:])]
