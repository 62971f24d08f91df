"""How training went, epoch by epoch: a table and a figure."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from headstart import figures, files


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


Curve = list[Epoch]


def write(path: Path, curve: Curve) -> None:
    """One line an epoch, tab-separated, with a header."""
    with files.table(path) as table:
        table.writerow(field.name for field in fields(Epoch))
        for epoch in curve:
            table.writerow(f"{value:.6g}" for value in asdict(epoch).values())


def draw(path: Path, curve: Curve) -> None:
    """Loss and top-1 accuracy of train and tune against the epoch."""
    epochs = [point.epoch for point in curve]
    with figures.drawing(path, 8, 3.2) as figure:
        loss, top1 = figure.subplots(1, 2)
        for split in ("train", "tune"):
            loss.plot(epochs, [getattr(p, f"{split}_loss") for p in curve], ".-", label=split)
            top1.plot(epochs, [100 * getattr(p, f"{split}_top1") for p in curve], ".-", label=split)
        loss.set(xlabel="epoch", ylabel="cross-entropy")
        top1.set(xlabel="epoch", ylabel="top-1 accuracy (%)")
        top1.legend(loc="lower right")
        for axes in (loss, top1):
            axes.xaxis.get_major_locator().set_params(integer=True)
