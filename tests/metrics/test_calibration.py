import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from headstart.metrics.calibration import (
    TEMPERATURE_RANGE,
    apply_temperature,
    conformal_threshold,
    fit_temperature,
    prediction_sets,
)
from headstart.metrics.classification_metrics import compute_metrics


def draw_predictions(
    n: int, temperature: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns logits [N, C], `temperature` times too large, their probabilities and labels [N]."""
    rng = np.random.default_rng(seed)
    true = 2 * rng.normal(size=(n, 8))
    labels = (softmax(true, axis=1).cumsum(1) > rng.random((n, 1))).argmax(1)
    logits = temperature * true
    return logits, softmax(logits, axis=1), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_finds_the_temperature_that_made_the_logits(temperature: float):
    _, probabilities, labels = draw_predictions(20_000, temperature)
    fitted = fit_temperature(probabilities, labels)
    assert fitted == pytest.approx(temperature, rel=0.03)
    before = compute_metrics(probabilities, labels)
    after = compute_metrics(apply_temperature(probabilities, fitted), labels)
    assert after["nll"] <= before["nll"]
    assert after["ece"] < 0.02
    assert after["top1"] == before["top1"]


def test_two_classes_agree_with_scikit_learns_slope():
    # With two classes scaling by 1 / T is a logistic regression on the logits' difference.
    rng = np.random.default_rng(0)
    difference = 3 * rng.normal(size=2000)
    labels = (rng.random(2000) < 1 / (1 + np.exp(-difference / 2.2))).astype(int)
    probabilities = softmax(np.stack([np.zeros(2000), difference], axis=1), axis=1)
    regression = LogisticRegression(C=np.inf, fit_intercept=False)
    slope = regression.fit(difference[:, None], labels).coef_[0, 0]
    assert fit_temperature(probabilities, labels) == pytest.approx(1 / slope, rel=1e-3)


def test_no_temperature_nearby_does_better():
    _, probabilities, labels = draw_predictions(500, 2.0)
    best = fit_temperature(probabilities, labels)

    def loss(temperature: float) -> float:
        return log_loss(labels, apply_temperature(probabilities, temperature), labels=range(8))

    assert loss(best) < min(loss(best * 1.02), loss(best / 1.02))


def test_scaling_probabilities_is_scaling_logits():
    logits, probabilities, _ = draw_predictions(50, 1.0)
    expected = softmax(logits / 1.7, axis=1)
    np.testing.assert_allclose(apply_temperature(probabilities, 1.7), expected)


def test_without_errors_the_temperature_stays_finite():
    certain = np.tile([1.0, 0.0], (10, 1))
    fitted = fit_temperature(certain, np.zeros(10, int))
    assert TEMPERATURE_RANGE[0] <= fitted <= TEMPERATURE_RANGE[1]


def test_threshold_by_hand():
    # Nine images; 80 % of ten is the eighth highest probability of a label.
    at_label = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    probabilities = np.stack([at_label, 1 - at_label], axis=1)
    labels = np.zeros(9, int)
    assert conformal_threshold(probabilities, labels, 0.8) == 0.2
    assert conformal_threshold(probabilities, labels, 0.9) == 0.1
    assert conformal_threshold(probabilities, labels, 0.95) == 0.0
    sets = prediction_sets(probabilities, 0.5)
    np.testing.assert_array_equal(sets[4], [True, True])
    np.testing.assert_array_equal(sets[0], [True, False])


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(0, 1000))
def test_sets_hold_the_label_as_often_as_stated(coverage: float, seed: int):
    # Overconfident probabilities, which a conformal set must not trust.
    _, probabilities, labels = draw_predictions(6000, 3.0, seed)
    threshold = conformal_threshold(probabilities[:3000], labels[:3000], coverage)
    sets = prediction_sets(probabilities[3000:], threshold)
    covered = sets[np.arange(3000), labels[3000:]].mean()
    # Five standard deviations of calibration and test together.
    assert abs(covered - coverage) < 5 * np.sqrt(2 * coverage * (1 - coverage) / 3000) + 1 / 3000
