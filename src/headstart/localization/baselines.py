"""What a localizer is compared with: the mean box, and ridge regression from pooled features."""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart.localization.box_matching import boxes_of, positions_of
from headstart.localization.localizer_training import BoxedImages
from headstart.metrics.localization_metrics import LocatedBoxes, iou_sums

STRENGTHS = tuple(10.0**exponent for exponent in range(-1, 8))
"""Strengths of the ridge penalty, on standardized features, that tune chooses from."""


def mean_box(train: BoxedImages, val: BoxedImages) -> LocatedBoxes:
    """Returns in every image the mean of all boxes of train."""
    mean = positions_of(np.concatenate(train.boxes), train.side).mean(0)
    return _one_box(np.tile(mean, (len(val), 1)), val)


def ridge_box(
    features: dict[str, np.ndarray], train: BoxedImages, tune: BoxedImages, val: BoxedImages
) -> LocatedBoxes:
    """Returns in every image the box that ridge regression predicts from its features.

    The target is the largest box of an image. The strength with the highest mean IoU on tune is
    chosen.

    features: of the images of `train`, `tune` and `val`, each [N, D].
    """
    targets = np.stack([_largest(boxes) for boxes in train.boxes])
    positions = positions_of(targets, train.side)
    models = [make_pipeline(StandardScaler(), Ridge(strength)) for strength in STRENGTHS]
    for model in models:
        model.fit(features["train"], positions)

    def on_tune(model) -> float:
        return iou_sums(_one_box(model.predict(features["tune"]), tune)).sum()

    return _one_box(max(models, key=on_tune).predict(features["val"]), val)


def _largest(boxes: np.ndarray) -> np.ndarray:
    return boxes[(boxes[:, 2:] - boxes[:, :2]).prod(1).argmax()]


def _one_box(positions: np.ndarray, images: BoxedImages) -> LocatedBoxes:
    boxes = boxes_of(positions, images.side)[:, None]
    return LocatedBoxes(images.padded_boxes, boxes, np.ones(boxes.shape[:2]))
