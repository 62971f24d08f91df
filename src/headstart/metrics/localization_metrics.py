"""Metrics of located boxes: mean IoU and average precision, with bootstrap confidence intervals.

Boxes are x0, y0, x1, y1 in one unit. Images have different numbers of boxes, so arrays of them are
padded: with NaN as a box that is not there, and with a score of 0.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from headstart.metrics.classification_metrics import Estimate, resample_counts

IOU_THRESHOLD = 0.5
"""The least IoU with which a box counts as having found an object (Everingham et al., 2010)."""

THRESHOLDS = tuple(hundredths / 100 for hundredths in range(99, 0, -1))
"""Thresholds of the confidence to choose from."""


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of boxes [..., 4] and [..., 4]: [...], broadcast.

    It is 0 for a box that is NaN, or whose right edge isn't right of its left one.
    """
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    intersection = (high - low).clip(0).prod(-1)
    union = _area(a) + _area(b) - intersection
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(intersection / union, nan=0.0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2:] - boxes[..., :2]).clip(0).prod(-1)


@dataclass(frozen=True)
class LocatedBoxes:
    """What a method located in each of N images, and what is there.

    truths: [N, G, 4], NaN behind an image's last box; every image has at least one. boxes:
    [N, K, 4]. scores: [N, K] in [0, 1], of which a box with a higher one is reported first.
    threshold: a box is emitted if its score is not below.
    """

    truths: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    threshold: float = 0.0

    @property
    def truth_counts(self) -> np.ndarray:
        """The number of boxes that are there in each image: [N] int."""
        return np.isfinite(self.truths[..., 0]).sum(1)

    @property
    def emitted(self) -> np.ndarray:
        """Whether each box is emitted: [N, K] bool."""
        return (self.scores >= self.threshold) & np.isfinite(self.boxes[..., 0])

    @property
    def ious(self) -> np.ndarray:
        """The IoU of every truth with every box of its image: [N, G, K]."""
        return box_iou(self.truths[:, :, None], self.boxes[:, None])


def iou_sums(located: LocatedBoxes) -> np.ndarray:
    """Returns each image's sum over its truths of the IoU with the emitted box that is theirs: [N].

    Truths and emitted boxes are assigned to each other one to one, so that the sum is as large as
    can be; a truth that gets none counts as 0.
    """
    ious = np.where(located.emitted[:, None], located.ious, 0)
    return np.array([image[linear_sum_assignment(-image)].sum() for image in ious])


def hits(located: LocatedBoxes) -> np.ndarray:
    """Returns which boxes find an object: [N, K] bool.

    In each image, from the highest score on, a box finds that of the remaining truths with which
    its IoU is largest, if this is at least 0.5.
    """
    found = np.zeros(located.scores.shape, bool)
    for image, scores, own in zip(located.ious, located.scores, found, strict=True):
        remaining = image.copy()
        for box in np.argsort(-scores, kind="stable"):
            truth = remaining[:, box].argmax()
            if remaining[truth, box] >= IOU_THRESHOLD:
                own[box] = True
                remaining[truth] = 0
    return found


def average_precision(
    found: np.ndarray, scores: np.ndarray, truths: float, weights: np.ndarray | None = None
) -> float:
    """Returns the area below the curve of precision over recall, in steps and not interpolated.

    Sum over thresholds n of (recall_n - recall_{n-1}) * precision_n, as scikit-learn's
    `average_precision_score` defines it, but with recall over all objects. Boxes of equal score
    share a threshold.

    found: [M] bool, whether each box finds an object. scores: [M]. truths: the number of objects,
    weighted. weights: [M], how often each box counts.
    """
    order = np.argsort(-scores, kind="stable")
    counts = np.ones(len(scores)) if weights is None else weights[order]
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    correct = np.cumsum(counts * found[order])[ends]
    emitted = np.cumsum(counts)[ends]
    precision = correct / np.maximum(emitted, 1)
    return float((np.diff(correct, prepend=0) * precision).sum() / truths)


def best_threshold(located: LocatedBoxes) -> float:
    """Returns the threshold at which 2 * (sum of IoUs) / (emitted boxes + objects) is highest.

    This is F1 with the IoU of an object and its box in place of hit or miss; so a box more than
    there are objects costs as much as an object that gets none. Of equals the highest is returned.
    """

    def f1(threshold: float) -> float:
        stopped = replace(located, threshold=threshold)
        return 2 * iou_sums(stopped).sum() / (stopped.emitted.sum() + stopped.truth_counts.sum())

    return max(THRESHOLDS, key=f1)


@dataclass(frozen=True)
class Resampled:
    """A metric and its values on R bootstrap resamples of the images: [R]."""

    value: float
    resamples: np.ndarray

    def estimate(self, confidence: float) -> Estimate:
        """Returns the value with its percentile interval."""
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.resamples, [tail, 1 - tail])
        return Estimate(self.value, float(low), float(high))

    def __sub__(self, other: "Resampled") -> "Resampled":
        """The difference, paired if both are of the same images, resamples and seed."""
        return Resampled(self.value - other.value, self.resamples - other.resamples)


def mean_resampled(metrics: list[Resampled]) -> Resampled:
    """Returns the mean of a metric over classes, whose images are resampled class by class."""
    return Resampled(
        float(np.mean([metric.value for metric in metrics])),
        np.mean([metric.resamples for metric in metrics], axis=0),
    )


def localization_metrics(located: LocatedBoxes, resamples: int, seed: int) -> dict[str, Resampled]:
    """Returns `iou` and `average_precision`, with their bootstrap over images.

    iou: the mean over all objects of the IoU with the emitted box that is theirs (see `iou_sums`).
    average_precision: of all boxes, emitted or not, by score: it is over all thresholds.
    """
    sums, truths = iou_sums(located), located.truth_counts
    there = np.isfinite(located.boxes[..., 0])
    found, scores = hits(located)[there], located.scores[there]
    image = np.nonzero(there)[0]

    def metrics(counts: np.ndarray) -> tuple[float, float]:
        objects = float(counts @ truths)
        ap = average_precision(found, scores, objects, counts[image].astype(float))
        return float(counts @ sums) / objects, ap

    n = len(sums)
    values = metrics(np.ones(n))
    drawn = np.array([metrics(counts) for counts in resample_counts(n, resamples, seed)])
    return {
        "iou": Resampled(values[0], drawn[:, 0]),
        "average_precision": Resampled(values[1], drawn[:, 1]),
    }
