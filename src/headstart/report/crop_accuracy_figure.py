"""The figure of accuracy against the number of crops that are averaged."""

from pathlib import Path

import numpy as np

from headstart.plotting import save_figure
from headstart.store.crop_accuracies import CropAccuracy


def draw_crop_accuracies(path: Path, rows: list[CropAccuracy], whole_top1: float, n: int) -> None:
    """Mean top-1 and its range over subsets of crops, for both averages.

    whole_top1: of the whole image alone, drawn for comparison. n: the number of val images.
    """
    with save_figure(path, 6.5, 4) as figure:
        axes = figure.subplots()
        for average, color in (("probabilities", "#1f5fa8"), ("logits", "#d1741f")):
            shown = [row for row in rows if row.average == average]
            counts = [row.crops for row in shown]
            mean, low, high = 100 * np.array([row[3:] for row in shown]).T
            axes.fill_between(counts, low, high, color=color, alpha=0.15, linewidth=0)
            axes.plot(counts, mean, "o-", color=color, markersize=4, label=f"{average} averaged")
        axes.plot([1], [100 * whole_top1], "D", color="black", label="the whole image alone")
        axes.set_xticks(range(1, max(row.crops for row in rows) + 1))
        axes.set_xlabel("crops averaged (line: mean over subsets of crops, band: their range)")
        axes.set_ylabel(f"top-1 in % of {n} val images")
        axes.legend(loc="lower right")
