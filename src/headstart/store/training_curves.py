"""How training went, epoch by epoch: a table and a figure."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from headstart.core.atomic_files import tsv_writer


@dataclass(frozen=True)
class Epoch:
    """Loss and accuracy after one epoch.

    Losses are cross-entropies with label smoothing, without the L2 term.
    train_loss, train_top1: means over the epoch's batches during training, with dropout and
    augmentation. tune_loss, tune_top1: on the whole images of tune after the epoch.
    """

    epoch: int
    train_loss: float
    train_top1: float
    tune_loss: float
    tune_top1: float


TrainingCurve = list[Epoch]


def write_training_curve(path: Path, curve: TrainingCurve) -> None:
    """Writes one row per epoch, tab-separated, with a header."""
    with tsv_writer(path) as table:
        table.writerow(field.name for field in fields(Epoch))
        for epoch in curve:
            table.writerow(f"{value:.6g}" for value in asdict(epoch).values())
