"""Calibration on tune: the temperature of the probabilities, and conformal prediction sets.

Both need nothing but probabilities, so they serve every kind of model and any average over views.
"""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

TEMPERATURE_RANGE = (0.05, 20.0)
"""The range searched for a temperature; if tune holds no errors, the lower end is returned."""


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature with the lowest negative log-likelihood of `labels` [N].

    `apply_temperature` applies it to probabilities [N, C]. For one view this is the temperature
    scaling of Guo et al. (2017), because softmax(log p / T) = softmax(logits / T). Several views
    are averaged first and calibrated afterwards (Rahaman and Thiery, 2021).
    """
    log_probabilities = _safe_log(probabilities)
    rows = np.arange(len(labels))

    # Convex in 1 / T, so there is one minimum in log T as well.
    def loss(log_temperature: float) -> float:
        scaled = log_softmax(log_probabilities / math.exp(log_temperature), axis=1)
        return -float(scaled[rows, labels].mean())

    low, high = (math.log(temperature) for temperature in TEMPERATURE_RANGE)
    minimum = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5})
    return math.exp(minimum.x)


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns probabilities [N, C] rescaled by a temperature.

    They become flatter above 1 and sharper below 1; the order of the classes doesn't change.
    """
    return softmax(_safe_log(probabilities) / temperature, axis=1)


def conformal_threshold(probabilities: np.ndarray, labels: np.ndarray, coverage: float) -> float:
    """Returns the lowest probability at which a class is included in an image's prediction set.

    This is split conformal prediction with the score 1 - p(label) (Sadinle et al., 2019): if new
    images are exchangeable with these N, their sets contain the label with probability `coverage`
    or more. With too few images for that, the threshold is 0 and every set contains all classes.

    probabilities: [N, C]. labels: [N].
    """
    at_label = np.sort(probabilities[np.arange(len(labels)), labels])[::-1]
    # The small constant is needed because (n + 1) * coverage may be just above a whole number.
    required = math.ceil((len(labels) + 1) * coverage - 1e-9)
    return float(at_label[required - 1]) if required <= len(labels) else 0.0


def prediction_sets(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Returns [N, C] bool: the classes in each image's prediction set. A set may be empty."""
    return probabilities >= threshold


def _safe_log(probabilities: np.ndarray) -> np.ndarray:
    """Returns the logarithm of probabilities, finite for 0 too."""
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
