"""The figure of one training: loss and accuracy of train and tune against the epoch."""

from pathlib import Path

from headstart.plotting import save_figure
from headstart.store.training_curves import TrainingCurve


def first_phase_end(curve: TrainingCurve) -> float | None:
    """The place between the last epoch of the first phase and the first of the second, if any."""
    first_phase = [epoch.epoch for epoch in curve if epoch.phase == 1]
    return first_phase[-1] + 0.5 if len(first_phase) < len(curve) else None


def draw_training_curve(path: Path, curve: TrainingCurve) -> None:
    """Loss and top-1 accuracy of train and tune against the epoch.

    Of a training in two phases the switch is marked (Inan, figures 3 to 6).
    """
    epochs = [point.epoch for point in curve]
    end = first_phase_end(curve)
    with save_figure(path, 8, 3.2) as figure:
        loss, top1 = figure.subplots(1, 2)
        for split in ("train", "tune"):
            loss.plot(epochs, [getattr(p, f"{split}_loss") for p in curve], ".-", label=split)
            top1.plot(epochs, [100 * getattr(p, f"{split}_top1") for p in curve], ".-", label=split)
        for axes in (loss, top1):
            axes.xaxis.get_major_locator().set_params(integer=True)
            if end:
                switch = "from here on the trunk is trained, too"
                axes.axvline(end, color="#8a8a8a", linestyle="--", label=switch)
        loss.set(xlabel="epoch", ylabel="cross-entropy")
        top1.set(xlabel="epoch", ylabel="top-1 accuracy (%)")
        figure.legend(*top1.get_legend_handles_labels(), loc="outside upper left", ncols=3)
