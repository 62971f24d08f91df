"""The figure of the learning curves of all runs."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib import color_sequences

from headstart.plotting import save_figure
from headstart.store.learning_curves import LearningCurve

DASHES = ("-", "--", "-.", ":")


def draw_learning_curves(
    path: Path, curves: Mapping[str, LearningCurve], confidence: float
) -> None:
    """One line per run on a logarithmic axis, with bands and whiskers.

    Colors stand for backbones and dashes for heads; colors stand for heads if there is only one
    backbone. confidence: of the curves' intervals.
    """
    backbones, heads = (
        list(dict.fromkeys(run.split("-")[part] for run in curves)) for part in (0, 1)
    )
    by_head = len(backbones) == 1
    marks = {point.images_per_class for curve in curves.values() for point in curve}
    with save_figure(path, 8, 5) as figure:
        axes = figure.subplots()
        axes.set_xscale("log")
        for run, curve in curves.items():
            backbone, head = run.split("-")
            position = heads.index(head) if by_head else backbones.index(backbone)
            color = color_sequences["tab10"][position % 10]
            dashes = "-" if by_head else DASHES[heads.index(head) % len(DASHES)]
            n = [point.images_per_class for point in curve]
            top1, low, high, lowest, highest = (
                [100 * getattr(point, key) for point in curve]
                for key in ("top1", "low", "high", "lowest", "highest")
            )
            axes.fill_between(n, low, high, color=color, alpha=0.15, linewidth=0)
            axes.plot(n, top1, "o", linestyle=dashes, color=color, markersize=4, label=run)
            axes.vlines(n, lowest, highest, color=color)
        axes.set_xticks(sorted(marks), [str(mark) for mark in sorted(marks)])
        axes.minorticks_off()
        axes.set_xlabel(
            "training images of each class, at most; the last point is all of train\n"
            "(line: mean over random subsets, whiskers: their range, "
            f"band: {confidence:.0%} interval over val images)"
        )
        axes.set_ylabel("top-1 on val in %, one view")
        axes.legend(loc="upper left")
