"""Reliability: how often a model is right, by its confidence."""

import numpy as np

from headstart.metrics.classification_metrics import CALIBRATION_BINS, confidence_bin
from headstart.store.reliability_bins import ReliabilityBins


def reliability_bins(probabilities: np.ndarray, labels: np.ndarray) -> ReliabilityBins:
    """The bins of probabilities [N, C] and labels [N]; confidence is the greatest probability."""
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    position = confidence_bin(confidence)
    n, confidences, hits = (
        np.bincount(position, weights, CALIBRATION_BINS) for weights in (None, confidence, correct)
    )
    with np.errstate(invalid="ignore"):
        return ReliabilityBins(n, confidences / n, hits / n)
