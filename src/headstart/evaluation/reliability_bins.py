"""Reliability: is a model right as often as it is sure, before and after temperature scaling?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headstart.core.atomic_files import tsv_writer
from headstart.metrics.classification_metrics import BINS, confidence_bin


class ReliabilityBins(NamedTuple):
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


def reliability_bins(probabilities: np.ndarray, labels: np.ndarray) -> ReliabilityBins:
    """Of probabilities [N, C] and labels [N]."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    position = confidence_bin(confidence)
    n, sure, hits = (np.bincount(position, weights, BINS) for weights in (None, confidence, right))
    with np.errstate(invalid="ignore"):
        return ReliabilityBins(n, sure / n, hits / n)


def write_reliability_bins(path: Path, stages: Mapping[str, ReliabilityBins]) -> None:
    """A row a bin that holds images, for each of `stages`: its edges, n, and both means."""
    edges = np.linspace(0, 1, BINS + 1)
    with tsv_writer(path) as table:
        table.writerow(["stage", "from", "to", "n", "confidence", "accuracy"])
        for stage, found in stages.items():
            for i in np.flatnonzero(found.n):
                numbers = (found.confidence[i], found.accuracy[i])
                row: list[Any] = [stage, *(f"{edge:.4f}" for edge in edges[i : i + 2]), found.n[i]]
                table.writerow(row + [f"{number:.5f}" for number in numbers])
