"""Accuracy against the number of training images a class: a table a run, one figure of all runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import color_sequences

from headstart import figures, files
from headstart.errors import UserError

DASHES = ("-", "--", "-.", ":")


class Point(NamedTuple):
    """Heads that were trained on at most `images_per_class` images of each class.

    train_images: how many that are in all. top1: on the whole images of val, the mean over
    `subsets` random choices of training images. low, high: its bootstrap interval over val images.
    lowest, highest: its range over the subsets.
    """

    images_per_class: int
    train_images: int
    subsets: int
    top1: float
    low: float
    high: float
    lowest: float
    highest: float


Curve = list[Point]


def write(path: Path, curve: Curve) -> None:
    """A row a point, tab-separated, with a header."""
    with files.table(path) as table:
        table.writerow(Point._fields)
        table.writerows(map(_texts, curve))


def load(folder: Path, runs: Sequence[str]) -> dict[str, Curve]:
    """The curves of `runs` from `<run>.tsv` each, and of no other run that once was active.

    Raises:
        UserError: one of them is missing.
    """
    curves = {}
    for run in runs:
        path = folder / f"{run}.tsv"
        if not path.exists():
            raise UserError(f"run {run} has no learning curve at {path}; `dvc repro` makes it")
        rows = [list(row.values()) for row in files.rows(path)]
        curves[run] = [Point(*map(int, row[:3]), *map(float, row[3:])) for row in rows]
    return curves


def write_all(path: Path, curves: Mapping[str, Curve]) -> None:
    """One table of all runs; its header alone where there is none."""
    with files.table(path) as table:
        table.writerow(["run", *Point._fields])
        table.writerows([run, *_texts(point)] for run, curve in curves.items() for point in curve)


def draw(path: Path, curves: Mapping[str, Curve], confidence: float) -> None:
    """A line a run on a logarithmic axis, a colour a backbone, with bands and whiskers."""
    backbones, heads = (
        list(dict.fromkeys(run.split("-")[part] for run in curves)) for part in (0, 1)
    )
    by_head = len(backbones) == 1
    marks = {point.images_per_class for curve in curves.values() for point in curve}
    with figures.drawing(path, 8, 5) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        for run, curve in curves.items():
            backbone, head = run.split("-")
            position = heads.index(head) if by_head else backbones.index(backbone)
            colour = color_sequences["tab10"][position % 10]
            dashes = "-" if by_head else DASHES[heads.index(head) % len(DASHES)]
            n = [point.images_per_class for point in curve]
            top1, low, high, lowest, highest = (
                [100 * getattr(point, key) for point in curve]
                for key in ("top1", "low", "high", "lowest", "highest")
            )
            axes.fill_between(n, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(n, top1, "o", linestyle=dashes, color=colour, markersize=4, label=run)
            axes.vlines(n, lowest, highest, color=colour)
        axes.set_xticks(sorted(marks), [str(mark) for mark in sorted(marks)])
        axes.minorticks_off()
        axes.set_xlabel(
            "training images of each class, at most; the last point is all of train\n"
            "(line: mean over random subsets, whiskers: their range, "
            f"band: {confidence:.0%} interval over val images)"
        )
        axes.set_ylabel("top-1 on val in %, one view")
        axes.legend(loc="upper left")


def _texts(point: Point) -> list[Any]:
    return [*point[:3], *(f"{value:.5f}" for value in point[3:])]
