"""The figure of one training: loss and accuracy of train and tune against the epoch."""

from pathlib import Path

from headstart.plotting import save_figure
from headstart.store.training_curves import TrainingCurve


def draw_training_curve(path: Path, curve: TrainingCurve) -> None:
    """Loss and top-1 accuracy of train and tune against the epoch."""
    epochs = [point.epoch for point in curve]
    with save_figure(path, 8, 3.2) as figure:
        loss, top1 = figure.subplots(1, 2)
        for split in ("train", "tune"):
            loss.plot(epochs, [getattr(p, f"{split}_loss") for p in curve], ".-", label=split)
            top1.plot(epochs, [100 * getattr(p, f"{split}_top1") for p in curve], ".-", label=split)
        loss.set(xlabel="epoch", ylabel="cross-entropy")
        top1.set(xlabel="epoch", ylabel="top-1 accuracy (%)")
        top1.legend(loc="lower right")
        for axes in (loss, top1):
            axes.xaxis.get_major_locator().set_params(integer=True)
