"""Training curves: the losses and accuracies of each epoch, as a table."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from headstart.core.atomic_files import read_tsv, tsv_writer


@dataclass(frozen=True)
class Epoch:
    """Loss and accuracy after one epoch.

    Losses are cross-entropies with label smoothing, without the L2 term.
    train_loss, train_top1: means over the epoch's batches during training, with dropout and
    augmentation. tune_loss, tune_top1: on the whole images of tune after the epoch. phase: 1, or 2
    for epochs after a first phase with a frozen trunk; epochs are numbered through both.
    tune_score: what tune chooses the epoch by; None if that is tune_top1, or nothing is chosen.
    """

    epoch: int
    train_loss: float
    train_top1: float
    tune_loss: float
    tune_top1: float
    phase: int = 1
    tune_score: float | None = None

    @property
    def score(self) -> float:
        """What tune chooses the epoch by; higher is better."""
        return self.tune_top1 if self.tune_score is None else self.tune_score


TrainingCurve = list[Epoch]


def write_training_curve(path: Path, curve: TrainingCurve) -> None:
    """Writes one row per epoch; the header alone for a model that is not trained in epochs."""
    with tsv_writer(path) as table:
        table.writerow(field.name for field in fields(Epoch))
        for epoch in curve:
            cells = asdict(epoch).values()
            table.writerow("" if value is None else f"{value:.6g}" for value in cells)


def load_training_curve(path: Path) -> TrainingCurve:
    """What `write_training_curve` wrote to `path`, to six digits.

    Raises:
        UserError: the file is missing.
    """
    return [
        Epoch(
            epoch=int(row.pop("epoch")),
            phase=int(row.pop("phase")),
            tune_score=float(score) if (score := row.pop("tune_score")) else None,
            **{name: float(value) for name, value in row.items()},
        )
        for row in read_tsv(path)
    ]
