"""Metrics that are averages over classes, so that every class counts the same: they say what
top-1 hides where classes have very different numbers of images.

A class without images has no part in an average, neither in the value (scikit-learn's functions
give the same if `labels` are the classes with images) nor in a resample that happens to miss it.
Images that are wrongly taken for such a class still count as wrong for their own.
"""

from collections.abc import Iterator

import numpy as np

CLASS_AVERAGES = ("balanced_accuracy", "macro_f1", "auroc")
"""Names of the metrics, in the order of `class_averages`."""


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns [N, C] bool, true at the label, for labels [N]. classes: C."""
    return labels[:, None] == np.arange(classes)


def class_averages(
    probabilities: np.ndarray, labels: np.ndarray, weights: Iterator[np.ndarray]
) -> np.ndarray:
    """Returns the metrics of CLASS_AVERAGES for every row of weights: [R, 3] float64.

    probabilities: [N, C]. labels: [N]. weights: blocks [B, N], together R rows, that say how often
    an image counts: 1 each for the value, the counts of a resample for the bootstrap.
    """
    classes = probabilities.shape[1]
    targets = one_hot(labels, classes)
    predicted = one_hot(probabilities.argmax(axis=1), classes)
    placed = placements(probabilities, targets)
    blocks = [
        np.stack(
            [
                balanced_accuracy(predicted, targets, block),
                macro_f1(predicted, targets, block),
                macro_auroc(placed, targets, block),
            ],
            axis=1,
        )
        for block in weights
    ]
    return np.concatenate(blocks)


def balanced_accuracy(
    predicted: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Returns the mean over classes of the share of a class's images that are found: [R].

    predicted, targets: [N, C] bool. weights: [R, N].
    """
    images, hits = (weights @ part.astype(np.float64) for part in (targets, targets & predicted))
    return _mean_where(hits, images, images > 0)


def macro_f1(predicted: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean over classes of F1, the harmonic mean of precision and recall: [R].

    predicted, targets: [N, C] bool. weights: [R, N].
    """
    images, hits, answers = (
        weights @ part.astype(np.float64) for part in (targets, targets & predicted, predicted)
    )
    return _mean_where(2 * hits, images + answers, images > 0)


def placements(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the components of the area under each class's ROC curve: [N, C] float64.

    For an image of class c it is the share of the other images whose score for c is lower, for
    another image the share of c's images whose score for c is higher; equal scores count half
    (DeLong, DeLong and Clarke-Pearson, 1988, eqs. 4 and 5). The mean over either kind is the area.

    scores: [N, C]. targets: [N, C] bool. Columns in which all or no images are of the class are 0.
    """
    placed = np.zeros(scores.shape)
    for c in np.flatnonzero(targets.any(axis=0) & ~targets.all(axis=0)):
        of_class = targets[:, c]
        own, others = scores[of_class, c], scores[~of_class, c]
        placed[of_class, c] = _share_below(own, others)
        placed[~of_class, c] = 1 - _share_below(others, own)
    return placed


def macro_auroc(placed: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean over classes of the area under the ROC curve of one against the rest: [R].

    It is the probability that a random image of the class has a higher score for it than a random
    other image. With unequal weights it is computed to first order (as DeLong et al.'s variance
    is): the change that resampling the class's images makes plus that which resampling the others
    makes. 0.5, that of chance, where no class has both an image and another one.

    placed: of `placements`. targets: [N, C] bool. weights: [R, N].
    """
    images, own = (weights @ part for part in (targets.astype(np.float64), placed * targets))
    others, rest = weights.sum(axis=1, keepdims=True) - images, weights @ (placed * ~targets)
    n, there = targets.sum(axis=0), (images > 0) & (others > 0)
    area = np.divide((placed * targets).sum(axis=0), n, out=np.zeros(len(n)), where=n > 0)
    own, rest = (
        np.divide(sums, count, out=np.zeros_like(sums), where=count > 0)
        for sums, count in ((own, images), (rest, others))
    )
    mean = _mean_where(own + rest - area, np.ones_like(own), there)
    return np.where(there.any(axis=1), mean, 0.5)


def effective_images(targets: np.ndarray) -> float:
    """Returns the number of images of equally large classes whose balanced accuracy would be as
    certain: C^2 / sum(1 / n_c), over the C classes with images. targets: [N, C] bool."""
    n = targets.sum(axis=0)
    n = n[n > 0]
    return float(len(n) ** 2 / (1 / n).sum())


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the share of `others` [M] that is below each of `values` [N]; equal ones are half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")
    return below / (2 * len(ordered))


def _mean_where(numerator: np.ndarray, denominator: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Returns the mean over classes of a ratio of [R, C], of those that are `there`: [R]."""
    ratio = np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=there)
    return ratio.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
