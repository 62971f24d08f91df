"""What an image counts for in training, by its class."""

from collections.abc import Callable

import numpy as np

from headstart.store.examples import Examples


def _none(counts: np.ndarray) -> np.ndarray:
    return np.ones(len(counts))


def _balanced(counts: np.ndarray) -> np.ndarray:
    """Every class counts the same in total, and an image 1 on average (King and Zeng, 2001)."""
    return counts.sum() / (len(counts) * counts)


WEIGHTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"none": _none, "balanced": _balanced}


def class_weights(kind: str, examples: Examples) -> np.ndarray:
    """The weight of an image of each class, [C] float64."""
    return WEIGHTS[kind](np.bincount(examples.labels, minlength=len(examples.classes)))
