"""The reliability diagram of one run."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from headstart.evaluation.reliability_bins import (
    ReliabilityBins,
)
from headstart.metrics.classification_metrics import BINS, wilson_interval
from headstart.plotting import save_figure

COLORS = ("#d1741f", "#1f5fa8")


def draw_reliability(
    path: Path, stages: Mapping[str, ReliabilityBins], protocol: str, confidence: float
) -> None:
    """Accuracy against confidence with Wilson's intervals, above how many images each bin holds."""
    centers = (np.arange(BINS) + 0.5) / BINS
    width = 0.4 / BINS
    with save_figure(path, 6, 6.5) as figure:
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], "--", color="#8a8a8a")
        for side, color, (stage, found) in zip((-1, 1), COLORS, stages.items(), strict=True):
            held = found.n > 0
            x, y = found.confidence[held], found.accuracy[held]
            low, high = wilson_interval(y * found.n[held], found.n[held], confidence)
            label = f"{stage}: ECE {found.ece:.3f}"
            # Rounding can leave Wilson's end a hair inside an accuracy of 0 or 1.
            error = np.maximum([y - low, high - y], 0)
            above.errorbar(x, y, error, fmt="o-", color=color, markersize=4, label=label)
            below.bar(centers + side * width / 2, found.n, width, color=color)
        total = int(next(iter(stages.values())).n.sum())
        margin = 0.02  # a point on the edge is seen whole
        above.set(xlim=(-margin, 1 + margin), ylim=(-margin, 1 + margin))
        above.set_ylabel(f"accuracy, with {confidence:.0%} interval")
        figure.legend(loc="outside upper center", ncols=2)
        below.set_ylabel("images")
        below.set_xlabel(
            f"confidence: the greatest probability, {BINS} bins\n"
            f"({total} val images, {protocol}; dashed: as often right as sure)"
        )
