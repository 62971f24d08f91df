"""The figure of accuracy against the number of crops averaged."""

from pathlib import Path

import numpy as np

from headstart.evaluation.crop_accuracy import CropAccuracy
from headstart.plotting import save_figure
from headstart.store.predictions import Predictions
from headstart.store.views import WHOLE


def draw_crop_accuracies(path: Path, found: Predictions, rows: list[CropAccuracy]) -> None:
    """Mean top-1 and its range over subsets, for both averages, and the whole image alone."""
    whole = found.logits[:, found.views.index(WHOLE.name)].argmax(1)
    with save_figure(path, 6.5, 4) as figure:
        axes = figure.subplots()
        for average, color in (("probabilities", "#1f5fa8"), ("logits", "#d1741f")):
            shown = [row for row in rows if row.average == average]
            counts = [row.crops for row in shown]
            mean, low, high = 100 * np.array([row[3:] for row in shown]).T
            axes.fill_between(counts, low, high, color=color, alpha=0.15, linewidth=0)
            axes.plot(counts, mean, "o-", color=color, markersize=4, label=f"{average} averaged")
        top1 = 100 * np.mean(whole == found.examples.labels)
        axes.plot([1], [top1], "D", color="black", label="the whole image alone")
        axes.set_xticks(range(1, len(found.views) + 1))
        axes.set_xlabel("crops averaged (line: mean over subsets of crops, band: their range)")
        axes.set_ylabel(f"top-1 in % of {len(found.examples)} val images")
        axes.legend(loc="lower right")
