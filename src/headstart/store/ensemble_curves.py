"""Accuracy against the number of an ensemble's members, as a table."""

from pathlib import Path
from typing import NamedTuple

from headstart.core.atomic_files import read_tsv, tsv_writer


class EnsembleSize(NamedTuple):
    """An ensemble of the first `count` members.

    joins: the name of the member that is new at this size. tune_top1, val_top1: top-1 accuracy of
    the ensemble. kept: whether this member belongs to the ensemble that tune chose.
    """

    count: int
    joins: str
    tune_top1: float
    val_top1: float
    kept: bool


EnsembleCurve = list[EnsembleSize]


def write_ensemble_curve(path: Path, curve: EnsembleCurve) -> None:
    """One row per number of members; the header alone where all members are averaged."""
    with tsv_writer(path) as table:
        table.writerow(EnsembleSize._fields)
        for size in curve:
            accuracies = (f"{size.tune_top1:.5f}", f"{size.val_top1:.5f}")
            table.writerow([size.count, size.joins, *accuracies, int(size.kept)])


def load_ensemble_curve(path: Path) -> EnsembleCurve:
    """What `write_ensemble_curve` wrote to `path`, accuracies to five decimals.

    Raises:
        UserError: the file is missing.
    """
    return [
        EnsembleSize(
            int(row["count"]),
            row["joins"],
            float(row["tune_top1"]),
            float(row["val_top1"]),
            row["kept"] == "1",
        )
        for row in read_tsv(path)
    ]
