"""How good probabilities are, and how sure we are of it.

Every metric is a function of a mean over examples: `contributions` holds a row an example, and
`from_means` makes the metrics of any mean of rows. So a value and its bootstrap share one path.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, softmax

METRICS = ("top1", "top5", "nll", "brier", "ece")

BINS = 15
"""Bins of equal width on the confidence for the expected calibration error (Guo et al., 2017)."""


class Estimate(NamedTuple):
    """A value and the interval that the truth lies in, at some stated confidence."""

    value: float
    low: float
    high: float


def average_probabilities(scores: Iterable[np.ndarray]) -> np.ndarray:
    """The mean over k of the softmax of each scores_k [N, C]: [N, C] float64 (Milani, eq. 2).

    k counts the views of one model or the members of an ensemble; [N, V, C] is averaged over V as
    `average_probabilities(np.moveaxis(logits, 1, 0))`. One k is held at a time.
    """
    total, count = np.float64(0), 0
    for one in scores:
        total = total + softmax(one.astype(np.float64), axis=-1)
        count += 1
    assert count > 0
    return np.asarray(total / count)


def per_example_terms(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each example adds to the metrics: [N, 4 + BINS] float64.

    Columns: is the label first, is it among the first five, -log of its probability, the squared
    distance to the one-hot label, and, in the column of its confidence's bin, confidence minus
    correctness. Classes of equal probability rank in their order, as argmax has it.

    Args:
        probabilities: [N, C].
        labels: [N], all of them known.
    """
    n, classes = probabilities.shape
    rows = np.arange(n)
    probabilities = probabilities.astype(np.float64)
    of_label = probabilities[rows, labels]
    ahead = (probabilities > of_label[:, None]).sum(1)
    tied_ahead = (
        (probabilities == of_label[:, None]) & (np.arange(classes) < labels[:, None])
    ).sum(1)
    rank = ahead + tied_ahead
    confidence = probabilities.max(1)

    made = np.zeros((n, 4 + BINS))
    made[:, 0] = rank < 1
    made[:, 1] = rank < 5
    made[:, 2] = -np.log(np.maximum(of_label, np.finfo(np.float64).tiny))
    made[:, 3] = (probabilities**2).sum(1) - 2 * of_label + 1
    made[rows, 4 + confidence_bin(confidence)] = confidence - made[:, 0]
    return made


def confidence_bin(confidence: np.ndarray) -> np.ndarray:
    """Which of the BINS each confidence [N] in [0, 1] falls into: [N] int."""
    return np.minimum((confidence * BINS).astype(int), BINS - 1)


def metrics_from_means(means: np.ndarray) -> np.ndarray:
    """METRICS [..., 5] of means of contributions [..., 4 + BINS].

    Brier score: the sum over classes, from 0 to 2. Expected calibration error: the sum over bins of
    the bin's share of the examples times the distance of its mean confidence from its accuracy.
    """
    ece = np.abs(means[..., 4:]).sum(-1)
    return np.concatenate([means[..., :4], ece[..., None]], axis=-1)


def compute_metrics(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Every metric of METRICS, of probabilities [N, C] and labels [N]."""
    values = metrics_from_means(per_example_terms(probabilities, labels).mean(0))
    return dict(zip(METRICS, values.tolist(), strict=True))


def estimate_metrics(
    probabilities: np.ndarray, labels: np.ndarray, confidence: float, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Every metric of METRICS with its bootstrap interval at `confidence`.

    Percentile intervals over resamples of the examples. The resamples are not stratified by class:
    a new validation set would not hold the very same mix, and the interval of an accuracy is then
    the binomial one that readers know (on a balanced set slightly wider than a stratified one).
    Two exceptions. The calibration error is biased upwards, in each resample twice, so its
    interval is the reflected one, 2 value - percentile, cut at 0 and stretched to hold the value.
    An accuracy of 0 or 1 has no bootstrap; Wilson's interval stands in.
    """
    rows = per_example_terms(probabilities, labels)
    values = metrics_from_means(rows.mean(0))
    resampled = metrics_from_means(bootstrap_means(rows, resamples, seed))
    tail = (1 - confidence) / 2
    lows, highs = np.quantile(resampled, [tail, 1 - tail], axis=0)

    ece = METRICS.index("ece")
    reflected = 2 * values[ece] - np.array([highs[ece], lows[ece]])
    lows[ece], highs[ece] = max(reflected[0], 0), max(reflected[1], values[ece])
    for accuracy in (METRICS.index("top1"), METRICS.index("top5")):
        if lows[accuracy] == highs[accuracy]:
            hits = values[accuracy] * len(labels)
            lows[accuracy], highs[accuracy] = wilson_interval(hits, len(labels), confidence)
    bounds = zip(values.tolist(), lows.tolist(), highs.tolist(), strict=True)
    return {name: Estimate(*bound) for name, bound in zip(METRICS, bounds, strict=True)}


def estimate_accuracy(right: np.ndarray, confidence: float, resamples: int, seed: int) -> Estimate:
    """The mean of [N] shares in [0, 1] with its interval, as `estimate` has it of top-1."""
    [found] = estimate_means(right[:, None], confidence, resamples, seed)
    if found.low == found.high:
        low, high = wilson_interval(right.sum(), len(right), confidence)
        return Estimate(found.value, float(low), float(high))
    return found


def estimate_means(
    rows: np.ndarray, confidence: float, resamples: int, seed: int
) -> list[Estimate]:
    """The mean of each column of [N, K] rows with its percentile bootstrap interval."""
    tail = (1 - confidence) / 2
    bounds = np.quantile(bootstrap_means(rows, resamples, seed), [tail, 1 - tail], axis=0)
    values = np.stack([rows.mean(0), *bounds], axis=1)
    return [Estimate(*value) for value in values.tolist()]


def bootstrap_means(rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The mean of [N, K] rows drawn with replacement, N at a time: [resamples, K].

    The same N and seed draw the same examples, so that two models' resamples are paired.
    """
    n = len(rows)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, rows.shape[1]))
    for resample in means:
        weights = np.bincount(rng.integers(n, size=n), minlength=n)
        resample[:] = weights @ rows / n
    return means


def wilson_interval(
    hits: np.ndarray | float, n: np.ndarray | float, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of a proportion, elementwise: low and high; NaN where n is 0."""
    z = ndtri((1 + confidence) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.divide(hits, n)
        center = (share + z**2 / (2 * np.asarray(n))) / (1 + z**2 / np.asarray(n))
        spread = np.sqrt(share * (1 - share) / n + z**2 / (4 * np.square(n)))
        half = z * spread / (1 + z**2 / np.asarray(n))
    return np.maximum(center - half, 0), np.minimum(center + half, 1)


class PerClass(NamedTuple):
    """For each of C classes: its n images, how many are `hits`, and where the others mostly went.

    confused: [C] the most frequent wrong class, or -1 where there is none; confused_n: how often.
    """

    n: np.ndarray
    hits: np.ndarray
    confused: np.ndarray
    confused_n: np.ndarray


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many images of class i are taken for class j: [C, C] int64, of [N, C] and labels [N]."""
    classes = probabilities.shape[1]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(1)), 1)
    return confusion


def per_class(probabilities: np.ndarray, labels: np.ndarray) -> PerClass:
    """Top-1 of each class, from probabilities [N, C] and labels [N]."""
    confusion = confusion_matrix(probabilities, labels)
    hits = confusion.diagonal().copy()
    n = confusion.sum(1)
    np.fill_diagonal(confusion, 0)
    confused_n = confusion.max(1)
    return PerClass(n, hits, np.where(confused_n > 0, confusion.argmax(1), -1), confused_n)
