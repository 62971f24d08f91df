"""What tune teaches about probabilities: one temperature, and how large a set of classes must be.

Both need nothing but probabilities, so they serve every kind of model and any average of views.
"""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

TEMPERATURES = (0.05, 20.0)
"""Where the temperature is sought; without an error on tune the best one is the lowest."""


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that gives `labels` [N] the lowest negative log-likelihood.

    `scale` applies it to probabilities [N, C]. For one view this is Guo et al. (2017), because
    softmax(log p / T) = softmax(logits / T); an average is pooled first, then calibrated (Rahaman
    and Thiery, 2021).
    """
    logs = _logs(probabilities)
    rows = np.arange(len(labels))

    # Convex in 1 / T, so it has one minimum in log T too.
    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logs / math.exp(log_temperature), axis=1)
        return -float(scaled[rows, labels].mean())

    low, high = (math.log(temperature) for temperature in TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5})
    return math.exp(found.x)


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [N, C] at another temperature: flatter above 1, sharper below, order kept."""
    return softmax(_logs(probabilities) / temperature, axis=1)


def conformal_threshold(probabilities: np.ndarray, labels: np.ndarray, coverage: float) -> float:
    """The probability from which on a class belongs to an image's set, so that `coverage` hold.

    Split conformal prediction with 1 - p(label) as score (Sadinle et al., 2019): where new images
    are exchangeable with these N, their sets hold the label with probability `coverage` or more.
    With too few images for that, the threshold is 0 and every set holds all classes.
    """
    of_label = np.sort(probabilities[np.arange(len(labels)), labels])[::-1]
    # Less a hair, because (n + 1) * coverage may come out just above a whole number.
    needed = math.ceil((len(labels) + 1) * coverage - 1e-9)
    return float(of_label[needed - 1]) if needed <= len(labels) else 0.0


def prediction_sets(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """[N, C] bool: which classes each image's set holds. A set may be empty."""
    return probabilities >= threshold


def _logs(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
