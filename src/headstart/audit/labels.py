"""Labels that are probably wrong, and classes that are probably one class, or two."""

from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from headstart.audit.cross_fitting import OutOfSample
from headstart.metrics.classification_metrics import wilson_interval

ALIKE = 0.75
"""Two classes are alike if the upper end of the 95 % interval of their separation is below this;
0.5 is chance."""

DIVIDED = 0.35
"""The least silhouette (Rousseeuw, 1987) of the two clusters of a class that is called divided."""

SMALLEST_PART = 0.2
"""The least share of a divided class's images in the smaller of its clusters."""

FALSE_DISCOVERIES = 0.25
"""The share of the labels called wrong that may be right, if the probabilities are calibrated."""

COMPONENTS = 16
"""Principal components in which a class is divided."""

LEAST_IMAGES = 30
"""A class with fewer images isn't divided."""


class LabelIssue(NamedTuple):
    """position: of the image. confidence: p(label), out of sample. suggested: a class's index."""

    position: int
    confidence: float
    suggested: int


class AlikeClasses(NamedTuple):
    """first, second: indices of classes. separation: the share of their images told apart."""

    first: int
    second: int
    separation: float


class DividedClass(NamedTuple):
    """label: index of the class. silhouette: of its two clusters, from -1 to 1."""

    label: int
    silhouette: float


def wrong_labels(predictions: OutOfSample) -> list[LabelIssue]:
    """Returns the images whose labels are probably wrong, the least confident first.

    They are called so by confident learning (Northcutt et al., 2021; cleanlab), which alone calls
    every fourth label of a hard dataset wrong. So only the least confident of them are kept, down
    to the confidence at which `FALSE_DISCOVERIES` of the images would be expected there with labels
    that are all right: an image with the probabilities p has, with probability p_c, the label c.
    """
    probabilities, labels = predictions.probabilities, predictions.labels
    if not len(labels):
        return []
    confidence = probabilities[np.arange(len(labels)), labels]
    suspects = find_label_issues(
        labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    limit = _confidence_limit(probabilities, confidence)
    return [
        LabelIssue(
            int(predictions.positions[row]),
            float(confidence[row]),
            int(predictions.classes[probabilities[row].argmax()]),
        )
        for row in suspects
        if confidence[row] <= limit
    ]


def _confidence_limit(probabilities: np.ndarray, confidence: np.ndarray) -> float:
    """Returns the highest confidence whose expected share of right labels is small enough, or -1.

    probabilities: [N, C]. confidence: [N], those of the labels.
    """
    ascending = np.sort(confidence)
    masses = np.sort(probabilities, axis=None)
    below = np.concatenate([[0], np.cumsum(masses)])[np.searchsorted(masses, ascending, "right")]
    few = np.flatnonzero(below <= FALSE_DISCOVERIES * np.arange(1, len(ascending) + 1))
    return float(ascending[few[-1]]) if len(few) else -1.0


def alike_classes(predictions: OutOfSample) -> list[AlikeClasses]:
    """Returns the pairs of classes that a classifier hardly tells apart, the most alike first.

    The separation of two classes is the mean over both of the share of images whose own logit
    exceeds that of the other class, out of sample.
    """
    labels, logits = predictions.labels, predictions.logits
    classes = len(predictions.classes)
    own = logits[np.arange(len(labels)), labels]
    wins = np.array(
        [(own[labels == c, None] > logits[labels == c]).mean(axis=0) for c in range(classes)]
    ).reshape(classes, classes)
    separation = (wins + wins.T) / 2
    counts = np.bincount(labels, minlength=classes)
    pairs = []
    for first, second in zip(*np.triu_indices(classes, 1), strict=True):
        if separation[first, second] >= ALIKE:
            continue
        n = counts[first] + counts[second]
        high = wilson_interval(separation[first, second] * n, n, 0.95)[1]
        if high < ALIKE:
            one, other = (int(predictions.classes[index]) for index in (first, second))
            pairs.append(AlikeClasses(one, other, float(separation[first, second])))
    return sorted(pairs, key=lambda pair: pair.separation)


def divided_classes(rows: np.ndarray, labels: np.ndarray) -> list[DividedClass]:
    """Returns the classes whose images form two clusters, the clearest first.

    rows: [N, D] float32, whose first columns are principal components. labels: [N].
    """
    divided = []
    for label in np.flatnonzero(np.bincount(labels) >= LEAST_IMAGES):
        of_class = rows[labels == label, :COMPONENTS]
        clustering = KMeans(2, n_init=4, random_state=0)  # pyright: ignore[reportArgumentType]
        part = clustering.fit_predict(of_class)
        if SMALLEST_PART <= part.mean() <= 1 - SMALLEST_PART:
            silhouette = float(silhouette_score(of_class, part))
            if silhouette >= DIVIDED:
                divided.append(DividedClass(int(label), silhouette))
    return sorted(divided, key=lambda found: -found.silhouette)
