"""Weights of training images by their class."""

from collections.abc import Callable

import numpy as np


def _none(counts: np.ndarray) -> np.ndarray:
    """Returns weights of 1."""
    return np.ones(len(counts))


def _balanced(counts: np.ndarray) -> np.ndarray:
    """Returns weights with equal totals per class and mean 1 over images (King and Zeng, 2001)."""
    return counts.sum() / (len(counts) * counts)


CLASS_WEIGHTINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": _none,
    "balanced": _balanced,
}


def class_weights(kind: str, labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns the weight of an image of each class: [C] float64.

    kind: a key of CLASS_WEIGHTINGS. labels: [N], of the training images. classes: C.
    """
    return CLASS_WEIGHTINGS[kind](np.bincount(labels, minlength=classes))
