"""Paired comparison of runs on the same images: differences of accuracy and their significance."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

from headstart.metrics.classification_metrics import bootstrap_means


class AccuracyDifference(NamedTuple):
    """The top-1 accuracy of `better` minus that of `worse`.

    value: the difference. low, high: its confidence interval. p_value: of McNemar's exact test.
    """

    better: str
    worse: str
    value: float
    low: float
    high: float
    p_value: float


def mcnemar_p_value(a_correct: np.ndarray, b_correct: np.ndarray) -> float:
    """Returns the two-sided p-value of McNemar's exact test for two runs.

    The hypothesis is that an image which only one of the two runs classifies correctly is equally
    likely to be either run's, as in tosses of a fair coin.

    a_correct, b_correct: [N] bool, whether each run classifies each image correctly.
    """
    only_a = int(np.sum(a_correct & ~b_correct))
    only_b = int(np.sum(b_correct & ~a_correct))
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def paired_differences(
    correct: dict[str, np.ndarray], confidence: float, resamples: int, seed: int
) -> list[AccuracyDifference]:
    """Returns the accuracy difference of every pair of runs, the largest first.

    The interval is the percentile bootstrap of the difference: each resample draws the same images
    for both runs.

    correct: for each run [N] bool, whether it classifies each image correctly; all runs have the
    same N images in the same order.
    """
    resampled = bootstrap_means(np.stack([*correct.values()], axis=1), resamples, seed)
    columns = dict(zip(correct, resampled.T, strict=True))
    tail = (1 - confidence) / 2
    differences = []
    for pair in combinations(correct, 2):
        a, b = sorted(pair, key=lambda run: -correct[run].sum())
        low, high = np.quantile(columns[a] - columns[b], [tail, 1 - tail])
        value = correct[a].mean() - correct[b].mean()
        p_value = mcnemar_p_value(correct[a], correct[b])
        differences.append(AccuracyDifference(a, b, float(value), float(low), float(high), p_value))
    return sorted(differences, key=lambda difference: -difference.value)
