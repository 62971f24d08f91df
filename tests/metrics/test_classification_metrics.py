import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, norm
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    top_k_accuracy_score,
)

from headstart.metrics.classification_metrics import (
    METRIC_NAMES,
    Estimate,
    average_probabilities,
    bootstrap_means,
    compute_metrics,
    estimate_accuracy,
    estimate_means,
    estimate_metrics,
    per_class,
    wilson_interval,
)


def random_case(n: int = 400, classes: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities [N, C] better than chance, and labels [N]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    return average_probabilities([logits]), labels


def test_metrics_are_scikit_learns():
    probabilities, labels = random_case()
    metrics = compute_metrics(probabilities, labels)
    classes = np.arange(probabilities.shape[1])
    assert metrics["top1"] == accuracy_score(labels, probabilities.argmax(1))
    assert metrics["top5"] == top_k_accuracy_score(labels, probabilities, k=5, labels=classes)
    assert metrics["nll"] == pytest.approx(log_loss(labels, probabilities, labels=classes))
    brier = brier_score_loss(labels, probabilities, labels=classes)
    assert metrics["brier"] == pytest.approx(brier)


def test_calibration_error_by_hand():
    # Bins of width 1/15: 0.9 and 0.91 share one (mean confidence 0.905, accuracy 1/2), 0.6 has its
    # own.
    probabilities = np.array([[0.9, 0.1], [0.09, 0.91], [0.6, 0.4]])
    labels = np.array([0, 0, 0])
    expected = 2 / 3 * abs(0.905 - 0.5) + 1 / 3 * abs(0.6 - 1.0)
    assert compute_metrics(probabilities, labels)["ece"] == pytest.approx(expected)


@pytest.mark.parametrize("classes", [12, 60])  # with 60, some confidences fall into the lowest bin
def test_calibration_error_by_its_definition(classes: int):
    probabilities, labels = random_case(n=1000, classes=classes)
    probabilities = average_probabilities([0.3 * np.log(probabilities)])
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean())
            expected += inside.mean() * gap
    assert compute_metrics(probabilities, labels)["ece"] == pytest.approx(expected)


def test_equal_probabilities_rank_as_argmax_does():
    probabilities = np.full((3, 8), 1 / 8)
    metrics = compute_metrics(probabilities, np.array([0, 4, 5]))
    assert metrics["top1"] == pytest.approx(1 / 3)
    assert metrics["top5"] == pytest.approx(2 / 3)


def test_a_certain_error_costs_a_finite_loss():
    metrics = compute_metrics(np.array([[0.0, 1.0]]), np.array([0]))
    assert math.isfinite(metrics["nll"])
    assert metrics["nll"] > 700


def test_average_is_equation_2_by_hand():
    # One image, two networks, three classes.
    scores = [np.array([[1.0, 2.0, 0.0]]), np.array([[3.0, 0.0, 0.0]])]
    first = [math.e, math.e**2, 1.0]
    second = [math.e**3, 1.0, 1.0]
    p = [a / sum(first) + b / sum(second) for a, b in zip(first, second, strict=True)]
    average = average_probabilities(scores)
    np.testing.assert_allclose(average, [[x / 2 for x in p]])
    assert average.argmax() == int(np.argmax(p))


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float32, (3, 4, 5), elements=st.floats(-1e4, 1e4, width=32)),
    st.floats(-1e4, 1e4, width=32),
)
def test_averages_are_probabilities_whatever_the_scale(logits: np.ndarray, shift: float):
    views = np.moveaxis(logits, 1, 0)
    averages = average_probabilities(views)
    assert averages.shape == (3, 5)
    np.testing.assert_allclose(averages.sum(1), 1)
    assert (averages >= 0).all()
    shifted = views.astype(np.float64) + shift
    np.testing.assert_allclose(average_probabilities(shifted), averages, atol=1e-9)


def test_intervals_hold_their_value_and_agree_with_the_binomial_one():
    probabilities, labels = random_case(n=2000)
    estimates = estimate_metrics(probabilities, labels, confidence=0.95, resamples=1000, seed=0)
    assert list(estimates) == list(METRIC_NAMES)
    values = compute_metrics(probabilities, labels)
    for name, estimate in estimates.items():
        assert estimate.value == values[name]
        assert estimate.low <= estimate.value <= estimate.high
    hits = round(values["top1"] * 2000)
    wilson = binomtest(hits, 2000).proportion_ci(0.95, "wilson")
    assert estimates["top1"].low == pytest.approx(wilson.low, abs=0.003)
    assert estimates["top1"].high == pytest.approx(wilson.high, abs=0.003)


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_intervals_are_those_of_a_mean(confidence: float):
    """With many examples they are the normal intervals of a mean, from its standard error."""
    probabilities, labels = random_case(n=2000)
    z = norm.ppf((1 + confidence) / 2)

    def check(estimate: Estimate, terms: np.ndarray) -> None:
        error = terms.std() / math.sqrt(len(terms))
        assert estimate.value == pytest.approx(terms.mean())
        assert estimate.low == pytest.approx(terms.mean() - z * error, abs=0.15 * error)
        assert estimate.high == pytest.approx(terms.mean() + z * error, abs=0.15 * error)

    estimates = estimate_metrics(probabilities, labels, confidence, resamples=1000, seed=0)
    correct = (probabilities.argmax(1) == labels).astype(float)
    loss = -np.log(probabilities[np.arange(2000), labels])
    check(estimates["top1"], correct)
    check(estimates["nll"], loss)
    check(estimate_accuracy(correct, confidence, resamples=1000, seed=0), correct)
    columns = np.stack([correct, loss], axis=1)
    estimates_of_columns = estimate_means(columns, confidence, 1000, 0)
    for estimate, terms in zip(estimates_of_columns, columns.T, strict=True):
        check(estimate, terms)


def test_the_interval_of_a_calibration_error_is_reflected():
    # One bin: the error is |0.9 - accuracy|, so its interval is that of the accuracy.
    right = np.arange(400) < 240
    probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    ece = estimate_metrics(probabilities, np.zeros(400, int), 0.9, resamples=1000, seed=0)["ece"]
    assert ece.value == pytest.approx(0.3)
    error = norm.ppf(0.95) * math.sqrt(0.6 * 0.4 / 400)
    assert (ece.low, ece.high) == pytest.approx((0.3 - error, 0.3 + error), abs=0.005)


def test_the_interval_of_no_calibration_error_is_cut_and_holds_it():
    # Every resample's error is greater than none, so the reflected interval lies below 0.
    right = np.arange(400) < 360
    probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    ece = estimate_metrics(probabilities, np.zeros(400, int), 0.9, resamples=1000, seed=0)["ece"]
    assert ece == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def test_intervals_contain_the_truth_as_often_as_they_say():
    covered, truth = 0, 0.7
    rng = np.random.default_rng(3)
    for _ in range(200):
        right = rng.random(150) < truth
        probabilities = np.where(right[:, None], [0.8, 0.2], [0.2, 0.8])
        estimates = estimate_metrics(probabilities, np.zeros(150, int), 0.9, resamples=200, seed=1)
        covered += estimates["top1"].low <= truth <= estimates["top1"].high
    assert 0.83 < covered / 200 < 0.97


def test_intervals_are_seeded_and_grow_with_confidence():
    case = random_case()
    first = estimate_metrics(*case, confidence=0.95, resamples=300, seed=5)
    assert first == estimate_metrics(*case, confidence=0.95, resamples=300, seed=5)
    assert first != estimate_metrics(*case, confidence=0.95, resamples=300, seed=6)
    narrow = estimate_metrics(*case, confidence=0.5, resamples=300, seed=5)["nll"]
    assert first["nll"].low < narrow.low < narrow.high < first["nll"].high


def test_no_errors_in_few_images_prove_no_perfection():
    probabilities = np.tile([0.9, 0.1], (20, 1))
    estimates = estimate_metrics(probabilities, np.zeros(20, int), 0.95, resamples=100, seed=0)
    expected = binomtest(20, 20).proportion_ci(0.95, "wilson")
    assert estimates["top1"] == pytest.approx((1.0, expected.low, 1.0))
    right = np.ones(20)
    assert estimate_accuracy(right, 0.95, 100, 0) == pytest.approx(estimates["top1"])


def test_bootstrap_means_spread_as_the_standard_error():
    rows = np.random.default_rng(0).normal(size=(500, 2))
    means = bootstrap_means(rows, resamples=2000, seed=0)
    assert means.shape == (2000, 2)
    np.testing.assert_allclose(means.mean(0), rows.mean(0), atol=0.005)
    np.testing.assert_allclose(means.std(0), rows.std(0) / math.sqrt(500), rtol=0.06)


def test_a_thousand_resamples_of_ten_thousand_images_cost_about_a_second():
    rows = np.random.default_rng(0).random((10_000, 19))
    started = time.process_time()
    bootstrap_means(rows, resamples=1000, seed=0)
    assert time.process_time() - started < 5


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(case: tuple[int, int]):
    hits, n = case
    expected = binomtest(hits, n).proportion_ci(0.95, "wilson")
    low, high = wilson_interval(hits, n, 0.95)
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)


def test_no_images_have_no_interval():
    low, high = wilson_interval(np.array([0, 1]), np.array([0, 1]), 0.95)
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


def test_per_class_reads_off_the_confusion_matrix():
    probabilities, labels = random_case(n=300, classes=6)
    labels[labels == 5] = 4
    results = per_class(probabilities, labels)
    matrix = confusion_matrix(labels, probabilities.argmax(1), labels=range(6))
    np.testing.assert_array_equal(results.n, matrix.sum(1))
    np.testing.assert_array_equal(results.hits, matrix.diagonal())
    for c in range(5):
        wrong = {j: matrix[c, j] for j in range(6) if j != c}
        assert results.wrong_classes[c] == len([n for n in wrong.values() if n])
        assert results.confused_n[c] == max(wrong.values()) == wrong[results.confused[c]]
    assert (results.n[5], results.confused[5], results.confused_n[5]) == (0, -1, 0)
