"""Reliability: is a model right as often as it is sure, before and after temperature scaling?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headstart import figures, files, metrics

COLOURS = ("#d1741f", "#1f5fa8")


class Bins(NamedTuple):
    """The bins of the expected calibration error (headstart.metrics), each array [BINS].

    n: images whose confidence falls into the bin. confidence, accuracy: their means; NaN where
    there is none.
    """

    n: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def ece(self) -> float:
        """The mean distance of confidence from accuracy, each bin weighted by its images."""
        return float(np.nansum(self.n * np.abs(self.confidence - self.accuracy)) / self.n.sum())


def bins(probabilities: np.ndarray, labels: np.ndarray) -> Bins:
    """Of probabilities [N, C] and labels [N]."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    position = metrics.bin_of(confidence)
    n, sure, hits = (
        np.bincount(position, weights, metrics.BINS) for weights in (None, confidence, right)
    )
    with np.errstate(invalid="ignore"):
        return Bins(n, sure / n, hits / n)


def write(path: Path, stages: Mapping[str, Bins]) -> None:
    """A row a bin that holds images, for each of `stages`: its edges, n, and both means."""
    edges = np.linspace(0, 1, metrics.BINS + 1)
    with files.table(path) as table:
        table.writerow(["stage", "from", "to", "n", "confidence", "accuracy"])
        for stage, found in stages.items():
            for i in np.flatnonzero(found.n):
                numbers = (found.confidence[i], found.accuracy[i])
                row: list[Any] = [stage, *(f"{edge:.4f}" for edge in edges[i : i + 2]), found.n[i]]
                table.writerow(row + [f"{number:.5f}" for number in numbers])


def draw(path: Path, stages: Mapping[str, Bins], look: str, confidence: float) -> None:
    """Accuracy against confidence with Wilson's intervals, above how many images each bin holds."""
    centres = (np.arange(metrics.BINS) + 0.5) / metrics.BINS
    width = 0.4 / metrics.BINS
    with figures.drawing(path, 6, 6.5) as figure:
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], "--", color="#8a8a8a")
        for side, colour, (stage, found) in zip((-1, 1), COLOURS, stages.items(), strict=True):
            held = found.n > 0
            x, y = found.confidence[held], found.accuracy[held]
            low, high = metrics.wilson(y * found.n[held], found.n[held], confidence)
            label = f"{stage}: ECE {found.ece:.3f}"
            # Rounding can leave Wilson's end a hair inside an accuracy of 0 or 1.
            error = np.maximum([y - low, high - y], 0)
            above.errorbar(x, y, error, fmt="o-", color=colour, markersize=4, label=label)
            below.bar(centres + side * width / 2, found.n, width, color=colour)
        total = int(next(iter(stages.values())).n.sum())
        margin = 0.02  # a point on the edge is seen whole
        above.set(xlim=(-margin, 1 + margin), ylim=(-margin, 1 + margin))
        above.set_ylabel(f"accuracy, with {confidence:.0%} interval")
        figure.legend(loc="outside upper center", ncols=2)
        below.set_ylabel("images")
        below.set_xlabel(
            f"confidence: the greatest probability, {metrics.BINS} bins\n"
            f"({total} val images, {look}; dashed: as often right as sure)"
        )
