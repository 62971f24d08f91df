"""Reliability bins: how often a model is right at each level of its confidence, as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headstart.core.atomic_files import read_tsv, tsv_writer


class ReliabilityBins(NamedTuple):
    """The bins of the expected calibration error, of equal width in [0, 1]; one value per bin.

    n: the number of images whose confidence falls into the bin. confidence, accuracy: their means,
    NaN in a bin without images.
    """

    n: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def ece(self) -> float:
        """The mean distance of confidence from accuracy, each bin weighted by its images."""
        return float(np.nansum(self.n * np.abs(self.confidence - self.accuracy)) / self.n.sum())


def write_reliability_bins(path: Path, stages: Mapping[str, ReliabilityBins]) -> None:
    """One row per bin that holds images, for each of `stages`.

    stages: the name of the stage, such as "temperature 1", and its bins. The columns are the mean
    confidence, the mean accuracy, n, the stage, the bin's position and the number of bins.
    """
    with tsv_writer(path) as table:
        table.writerow(["confidence", "accuracy", "n", "stage", "bin", "bins"])
        for stage, bins in stages.items():
            for i in np.flatnonzero(bins.n):
                means: list[Any] = [f"{bins.confidence[i]:.5f}", f"{bins.accuracy[i]:.5f}"]
                table.writerow([*means, bins.n[i], stage, i, len(bins.n)])


def load_reliability_bins(path: Path) -> dict[str, ReliabilityBins]:
    """What `write_reliability_bins` wrote to `path`, means to five decimals.

    Raises:
        UserError: the file is missing.
    """
    stages: dict[str, ReliabilityBins] = {}
    for row in read_tsv(path):
        count = int(row["bins"])
        empty = ReliabilityBins(
            np.zeros(count, np.int64), np.full(count, np.nan), np.full(count, np.nan)
        )
        bins = stages.setdefault(row["stage"], empty)
        i = int(row["bin"])
        bins.n[i] = int(row["n"])
        bins.confidence[i] = float(row["confidence"])
        bins.accuracy[i] = float(row["accuracy"])
    return stages
