"""How good an ensemble is against the number of its members, as a table."""

from pathlib import Path
from typing import NamedTuple

from headstart.core.atomic_files import read_tsv, tsv_writer


class EnsembleSize(NamedTuple):
    """An ensemble of the first `count` members.

    joins: the name of the member that is new at this size. tune_score, val_score: what tune chooses
    by, such as top-1 accuracy, of the ensemble. kept: whether this member belongs to the ensemble
    that tune chose.
    """

    count: int
    joins: str
    tune_score: float
    val_score: float
    kept: bool


EnsembleCurve = list[EnsembleSize]


def write_ensemble_curve(path: Path, curve: EnsembleCurve) -> None:
    """One row per number of members; the header alone where all members are averaged."""
    with tsv_writer(path) as table:
        table.writerow(EnsembleSize._fields)
        for size in curve:
            scores = (f"{size.tune_score:.5f}", f"{size.val_score:.5f}")
            table.writerow([size.count, size.joins, *scores, int(size.kept)])


def load_ensemble_curve(path: Path) -> EnsembleCurve:
    """What `write_ensemble_curve` wrote to `path`, scores to five decimals.

    Raises:
        UserError: the file is missing.
    """
    return [
        EnsembleSize(
            int(row["count"]),
            row["joins"],
            float(row["tune_score"]),
            float(row["val_score"]),
            row["kept"] == "1",
        )
        for row in read_tsv(path)
    ]
