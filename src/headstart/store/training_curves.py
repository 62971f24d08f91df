"""How training went, epoch by epoch: a table and a figure."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from headstart.core.atomic_files import tsv_writer


@dataclass(frozen=True)
class Epoch:
    """Losses are cross-entropies with the label smoothing, without the L2 term.

    Of train: means over the epoch's batches as they were met, dropout and augmented views
    included. Of tune: the whole images after the epoch.
    """

    epoch: int
    train_loss: float
    train_top1: float
    tune_loss: float
    tune_top1: float


TrainingCurve = list[Epoch]


def write_training_curve(path: Path, curve: TrainingCurve) -> None:
    """One line an epoch, tab-separated, with a header."""
    with tsv_writer(path) as table:
        table.writerow(field.name for field in fields(Epoch))
        for epoch in curve:
            table.writerow(f"{value:.6g}" for value in asdict(epoch).values())
