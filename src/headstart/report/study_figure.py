"""The figure of one study: the training curves of several runs, one above the other."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib import color_sequences
from matplotlib.ticker import ScalarFormatter

from headstart.plotting import save_figure
from headstart.report.training_curve_figure import first_phase_end
from headstart.store.training_curves import TrainingCurve


def draw_study(path: Path, curves: Mapping[str, TrainingCurve]) -> None:
    """Loss and top-1 accuracy against the epoch, tune solid and train dashed, a color for each run.

    A thin vertical line in a run's color is the end of its first phase, if it has two.

    curves: by run.
    """
    with save_figure(path, 9, 4) as figure:
        loss, top1 = figure.subplots(1, 2)
        colors = color_sequences["tab10"]
        for number, (run, curve) in enumerate(curves.items()):
            color = colors[number % len(colors)]
            epochs = [epoch.epoch for epoch in curve]
            for split, dashes, label in (("train", "--", None), ("tune", "-", run)):
                losses = [getattr(epoch, f"{split}_loss") for epoch in curve]
                percent = [100 * getattr(epoch, f"{split}_top1") for epoch in curve]
                style = {"color": color, "linestyle": dashes, "marker": ".", "label": label}
                loss.plot(epochs, losses, **style)
                top1.plot(epochs, percent, **style)
            if end := first_phase_end(curve):
                for axes in (loss, top1):
                    axes.axvline(end, color=color, linewidth=0.8)
        # Logarithmic, because an epoch in which training nearly diverges would hide all others.
        loss.set_yscale("log")
        for formatted in (loss.yaxis.set_major_formatter, loss.yaxis.set_minor_formatter):
            formatted(ScalarFormatter())
        loss.set(xlabel="epoch (solid: tune, dashed: train)", ylabel="cross-entropy, log scale")
        top1.set(xlabel="epoch (solid: tune, dashed: train)", ylabel="top-1 accuracy (%)")
        for axes in (loss, top1):
            axes.xaxis.get_major_locator().set_params(integer=True)
        handles, labels = top1.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3)
