"""Metrics of predicted probabilities, with bootstrap confidence intervals.

Most metrics are functions of a mean over examples: `per_example_terms` returns one row per example,
and `metrics_from_means` computes the metrics from any mean of rows. Those in `class_averages` are
functions of the images' weights. Values and their bootstrap intervals are therefore computed by the
same code.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, softmax

from headstart.metrics.class_averages import (
    CLASS_AVERAGES,
    class_averages,
    effective_images,
    one_hot,
)

EXAMPLE_MEANS = ("top1", "top5", "nll", "brier", "ece")
"""The metrics that `metrics_from_means` computes."""

METRIC_NAMES = (*EXAMPLE_MEANS, *CLASS_AVERAGES)

BLOCK_RESAMPLES = 256
"""How many resamples are computed at once, as one product of matrices."""

CALIBRATION_BINS = 15
"""Number of equal-width bins of the confidence for the calibration error (Guo et al., 2017)."""


class Estimate(NamedTuple):
    """A value and its confidence interval, from `low` to `high`."""

    value: float
    low: float
    high: float


def average_probabilities(scores: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the mean over k of softmax(scores_k): [N, C] float64 (Milani, eq. 2).

    k counts the views of one model or the members of an ensemble. To average logits [N, V, C] over
    V, call `average_probabilities(np.moveaxis(logits, 1, 0))`.

    scores: logits [N, C] for each k; only one of them is held in memory at a time.
    """
    total, count = np.float64(0), 0
    for logits in scores:
        total = total + softmax(logits.astype(np.float64), axis=-1)
        count += 1
    assert count > 0
    return np.asarray(total / count)


def per_example_terms(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the terms of each example whose means give the metrics.

    The result is [N, 4 + CALIBRATION_BINS] float64.

    The columns are: whether the label ranks first; whether it ranks among the first five; -log of
    its probability; the squared distance of the probabilities to the one-hot label; and, in the
    column of the bin that the confidence falls into, confidence minus correctness. Classes of equal
    probability rank in their order, as with argmax.

    probabilities: [N, C]. labels: [N], all of them known.
    """
    n, classes = probabilities.shape
    rows = np.arange(n)
    probabilities = probabilities.astype(np.float64)
    at_label = probabilities[rows, labels]
    higher = (probabilities > at_label[:, None]).sum(1)
    tied_before = (
        (probabilities == at_label[:, None]) & (np.arange(classes) < labels[:, None])
    ).sum(1)
    rank = higher + tied_before
    confidence = probabilities.max(1)

    terms = np.zeros((n, 4 + CALIBRATION_BINS))
    terms[:, 0] = rank < 1
    terms[:, 1] = rank < 5
    terms[:, 2] = -np.log(np.maximum(at_label, np.finfo(np.float64).tiny))
    terms[:, 3] = (probabilities**2).sum(1) - 2 * at_label + 1
    terms[rows, 4 + confidence_bin(confidence)] = confidence - terms[:, 0]
    return terms


def confidence_bin(confidence: np.ndarray) -> np.ndarray:
    """Returns the calibration bin that each confidence in [0, 1] falls into: [N] int."""
    return np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def metrics_from_means(means: np.ndarray) -> np.ndarray:
    """Returns the metrics [..., 5], in the order of EXAMPLE_MEANS, from mean terms.

    The Brier score is summed over classes and lies between 0 and 2. The expected calibration error
    is the sum over bins of the bin's share of the examples times the absolute difference between
    its mean confidence and its accuracy.

    means: [..., 4 + CALIBRATION_BINS], of the rows of `per_example_terms`.
    """
    ece = np.abs(means[..., 4:]).sum(-1)
    return np.concatenate([means[..., :4], ece[..., None]], axis=-1)


def compute_metrics(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns every metric of METRIC_NAMES by name, for probabilities [N, C] and labels [N]."""
    return dict(zip(METRIC_NAMES, _metric_values(probabilities, labels).tolist(), strict=True))


def _metric_values(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns [8] float64, in the order of METRIC_NAMES."""
    means = metrics_from_means(per_example_terms(probabilities, labels).mean(0))
    [averages] = class_averages(probabilities, labels, iter([np.ones((1, len(labels)))]))
    return np.concatenate([means, averages])


def estimate_metrics(
    probabilities: np.ndarray, labels: np.ndarray, confidence: float, resamples: int, seed: int
) -> dict[str, Estimate]:
    """Returns every metric of METRIC_NAMES by name, with its bootstrap interval at `confidence`.

    The intervals are percentiles over resamples of the examples. The resamples are not stratified
    by class: a new validation set would not have exactly the same class frequencies, and the
    interval of an accuracy then agrees with the familiar binomial interval (on a balanced set it is
    slightly wider than a stratified one). There are two exceptions:

    - The calibration error is biased upwards, and in a resample twice. Its interval is the
      reflected one, 2 * value - percentile, clipped at 0 and widened where needed to contain the
      value.
    - All resamples of a perfect result are equal, and of one without a hit. Wilson's interval is
      used instead, for averages over classes with the number of images that such an average is as
      certain as.

    probabilities: [N, C]. labels: [N].
    """
    terms = per_example_terms(probabilities, labels)
    values = _metric_values(probabilities, labels)
    resampled = np.concatenate(
        [
            metrics_from_means(bootstrap_means(terms, resamples, seed)),
            class_averages(probabilities, labels, resample_blocks(len(labels), resamples, seed)),
        ],
        axis=1,
    )
    tail = (1 - confidence) / 2
    lows, highs = np.quantile(resampled, [tail, 1 - tail], axis=0)

    ece = METRIC_NAMES.index("ece")
    reflected = 2 * values[ece] - np.array([highs[ece], lows[ece]])
    lows[ece], highs[ece] = max(reflected[0], 0), max(reflected[1], values[ece])
    balanced_n = effective_images(one_hot(labels, probabilities.shape[1]))
    for name in ("top1", "top5", *CLASS_AVERAGES):
        i = METRIC_NAMES.index(name)
        if lows[i] == highs[i]:
            n = balanced_n if name in CLASS_AVERAGES else len(labels)
            lows[i], highs[i] = wilson_interval(values[i] * n, n, confidence)
    bounds = zip(values.tolist(), lows.tolist(), highs.tolist(), strict=True)
    return {name: Estimate(*bound) for name, bound in zip(METRIC_NAMES, bounds, strict=True)}


def estimate_accuracy(
    correct: np.ndarray, confidence: float, resamples: int, seed: int
) -> Estimate:
    """Returns the mean of [N] values in [0, 1] with the interval that `estimate_metrics` uses.

    correct: [N], whether each image is classified correctly, or the share of its views that are.
    """
    [estimate] = estimate_means(correct[:, None], confidence, resamples, seed)
    if estimate.low == estimate.high:
        low, high = wilson_interval(correct.sum(), len(correct), confidence)
        return Estimate(estimate.value, float(low), float(high))
    return estimate


def estimate_means(
    rows: np.ndarray, confidence: float, resamples: int, seed: int
) -> list[Estimate]:
    """Returns the mean of each column of rows [N, K] with its percentile bootstrap interval."""
    tail = (1 - confidence) / 2
    bounds = np.quantile(bootstrap_means(rows, resamples, seed), [tail, 1 - tail], axis=0)
    values = np.stack([rows.mean(0), *bounds], axis=1)
    return [Estimate(*value) for value in values.tolist()]


def bootstrap_means(rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Returns the means of bootstrap resamples of rows [N, K]: [resamples, K].

    Each resample draws N rows with replacement. The same N and seed draw the same rows, so the
    resamples of two models are paired.
    """
    means = np.empty((resamples, rows.shape[1]))
    for mean, counts in zip(means, resample_counts(len(rows), resamples, seed), strict=True):
        mean[:] = counts @ rows / len(rows)
    return means


def resample_counts(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields, for each bootstrap resample of `n` examples, how often it draws each: [n] int64.

    The same n and seed draw the same examples.
    """
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(n, size=n), minlength=n)


def resample_blocks(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields the counts of `resample_counts`, some resamples at a time: [B, n] float64."""
    counts = resample_counts(n, resamples, seed)
    while block := list(islice(counts, BLOCK_RESAMPLES)):
        yield np.stack(block).astype(np.float64)


def wilson_interval(
    hits: np.ndarray | float, n: np.ndarray | float, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and upper bounds of Wilson's score interval; NaN where `n` is 0.

    hits, n: successes and trials, numbers or arrays of one shape; computed elementwise.
    """
    z = ndtri((1 + confidence) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.divide(hits, n)
        center = (share + z**2 / (2 * np.asarray(n))) / (1 + z**2 / np.asarray(n))
        spread = np.sqrt(share * (1 - share) / n + z**2 / (4 * np.square(n)))
        half = z * spread / (1 + z**2 / np.asarray(n))
    return np.maximum(center - half, 0), np.minimum(center + half, 1)


class PerClass(NamedTuple):
    """The top-1 results of each of C classes; every field is [C] int64.

    n: the number of images. hits: those classified correctly. confused: the class predicted most
    often for the others, or -1 if there are none. confused_n: how often it is predicted.
    wrong_classes: the number of distinct classes predicted for the others.
    """

    n: np.ndarray
    hits: np.ndarray
    confused: np.ndarray
    confused_n: np.ndarray
    wrong_classes: np.ndarray


def confusion_matrix(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns how many images of class i are classified as class j: [C, C] int64.

    probabilities: [N, C]. labels: [N].
    """
    classes = probabilities.shape[1]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(1)), 1)
    return confusion


def per_class(probabilities: np.ndarray, labels: np.ndarray) -> PerClass:
    """Returns the top-1 results of each class, for probabilities [N, C] and labels [N]."""
    confusion = confusion_matrix(probabilities, labels)
    hits = confusion.diagonal().copy()
    n = confusion.sum(1)
    np.fill_diagonal(confusion, 0)
    confused_n = confusion.max(1)
    confused = np.where(confused_n > 0, confusion.argmax(1), -1)
    return PerClass(n, hits, confused, confused_n, np.count_nonzero(confusion, axis=1))
