import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from headstart.evaluation.reliability_bins import reliability_bins
from headstart.metrics.classification_metrics import CALIBRATION_BINS, compute_metrics


def sample(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    logits = 2 * rng.normal(size=(n, classes)) + np.eye(classes)[labels]
    return softmax(logits, axis=1), labels


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(2, 20), st.integers(0, 1000))
def test_the_weighted_gap_of_the_bins_is_the_calibration_error(n: int, classes: int, seed: int):
    probabilities, labels = sample(n, classes, seed)
    found = reliability_bins(probabilities, labels)
    assert found.n.sum() == n
    assert found.ece == pytest.approx(compute_metrics(probabilities, labels)["ece"], abs=1e-12)


def test_bins_are_scikit_learn_s():
    probabilities, labels = sample(2000, 6, 0)
    found = reliability_bins(probabilities, labels)
    right = probabilities.argmax(1) == labels
    accuracy, confidence = calibration_curve(right, probabilities.max(1), n_bins=CALIBRATION_BINS)
    held = found.n > 0
    np.testing.assert_allclose(found.accuracy[held], accuracy)
    np.testing.assert_allclose(found.confidence[held], confidence)


def test_certainty_falls_into_the_last_bin():
    found = reliability_bins(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert found.n[-1] == 2
    assert (found.confidence[-1], found.accuracy[-1], found.ece) == (1, 0.5, 0.5)
    assert np.isnan(found.accuracy[:-1]).all()
