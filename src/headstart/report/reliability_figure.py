"""The reliability diagram of one run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headstart.metrics.classification_metrics import wilson_interval
from headstart.plotting import save_figure
from headstart.store.reliability_bins import ReliabilityBins

COLORS = ("#d1741f", "#1f5fa8")


def draw_reliability(
    path: Path, stages: Mapping[str, ReliabilityBins], protocol: str, confidence: float
) -> None:
    """Accuracy against confidence with Wilson's intervals, and the number of images in each bin.

    stages: before and after temperature scaling, by name. protocol: as the axis names it.
    confidence: of the intervals.
    """
    count = len(next(iter(stages.values())).n)
    centers = (np.arange(count) + 0.5) / count
    width = 0.4 / count
    with save_figure(path, 6, 6.5) as figure:
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], "--", color="#8a8a8a")
        for side, color, (stage, bins) in zip((-1, 1), COLORS, stages.items(), strict=True):
            held = bins.n > 0
            x, y = bins.confidence[held], bins.accuracy[held]
            hits = np.round(y * bins.n[held])
            low, high = wilson_interval(hits, bins.n[held], confidence)
            label = f"{stage}: ECE {bins.ece:.3f}"
            # Rounding can leave an end of the interval just inside an accuracy of 0 or 1.
            error = np.maximum([y - low, high - y], 0)
            above.errorbar(x, y, error, fmt="o-", color=color, markersize=4, label=label)
            below.bar(centers + side * width / 2, bins.n, width, color=color)
        total = int(next(iter(stages.values())).n.sum())
        margin = 0.02  # so that points on the edge are not cut off
        above.set(xlim=(-margin, 1 + margin), ylim=(-margin, 1 + margin))
        above.set_ylabel(f"accuracy, with {confidence:.0%} interval")
        figure.legend(loc="outside upper center", ncols=2)
        below.set_ylabel("images")
        below.set_xlabel(
            f"confidence: the greatest probability, {count} bins\n"
            f"({total} val images, {protocol}; dashed: accuracy equals confidence)"
        )
