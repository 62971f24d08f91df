"""Is one run better than another on the same images, and by how much?"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

from headstart.metrics.classification_metrics import bootstrap_means


class AccuracyDifference(NamedTuple):
    """Top-1 of the `better` run less that of the `worse`, with its interval and McNemar's p."""

    better: str
    worse: str
    value: float
    low: float
    high: float
    p_value: float


def mcnemar(a_right: np.ndarray, b_right: np.ndarray) -> float:
    """The two-sided p of McNemar's exact test for [N] bool: are both equally often right alone?

    Under that hypothesis the images that only one gets right are tosses of a fair coin.
    """
    only_a = int(np.sum(a_right & ~b_right))
    only_b = int(np.sum(b_right & ~a_right))
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def paired_differences(
    right: dict[str, np.ndarray], confidence: float, resamples: int, seed: int
) -> list[AccuracyDifference]:
    """Every pair of runs, from what each gets right ([N] bool, the same N images), widest first.

    The interval is the percentile bootstrap of the difference: every resample draws the same
    images for both runs.
    """
    resampled = bootstrap_means(np.stack([*right.values()], axis=1), resamples, seed)
    columns = dict(zip(right, resampled.T, strict=True))
    tail = (1 - confidence) / 2
    found = []
    for pair in combinations(right, 2):
        a, b = sorted(pair, key=lambda run: -right[run].sum())
        low, high = np.quantile(columns[a] - columns[b], [tail, 1 - tail])
        value = right[a].mean() - right[b].mean()
        p_value = mcnemar(right[a], right[b])
        found.append(AccuracyDifference(a, b, float(value), float(low), float(high), p_value))
    return sorted(found, key=lambda difference: -difference.value)
