import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from headstart.metrics.class_averages import CLASS_AVERAGES
from headstart.metrics.classification_metrics import (
    compute_metrics,
    estimate_metrics,
    resample_counts,
    wilson_interval,
)


def imbalanced(n: int, absent: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, 5] with ties, and labels, most of them of the first class."""
    rng = np.random.default_rng(n)
    shares = np.array([0.6, 0.2, 0.1, 0.06, 0.04])
    shares[[*absent]] = 0
    labels = rng.choice(5, size=n, p=shares / shares.sum())
    logits = rng.normal(size=(n, 5)) + 1.2 * (labels[:, None] == np.arange(5))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rounded = probabilities.round(1) + 0.02
    return rounded / rounded.sum(axis=1, keepdims=True), labels


def reference(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> list[float]:
    """scikit-learn's values over the classes that have images."""
    drawn = np.arange(len(labels)).repeat(1 if weights is None else weights)
    p, y = probabilities[drawn], labels[drawn]
    there, answers = np.unique(y), p.argmax(axis=1)
    recall = np.mean([(answers[y == c] == c).mean() for c in there])
    f1 = f1_score(y, answers, labels=there, average="macro")
    areas = [roc_auc_score(y == c, p[:, c]) for c in there]
    return [float(recall), float(f1), float(np.mean(areas))]


@pytest.mark.parametrize("absent", [(), (1, 4)])
def test_values_are_scikit_learn_s_over_the_classes_with_images(absent: tuple[int, ...]):
    probabilities, labels = imbalanced(300, absent)
    metrics = compute_metrics(probabilities, labels)
    expected = reference(probabilities, labels)
    assert [metrics[name] for name in CLASS_AVERAGES] == pytest.approx(expected, abs=1e-12)


def test_values_are_scikit_learn_s_own_averages():
    probabilities, labels = imbalanced(300)
    metrics = compute_metrics(probabilities, labels)
    answers = probabilities.argmax(axis=1)
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, answers))
    assert metrics["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"))
    area = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert metrics["auroc"] == pytest.approx(area)


def test_intervals_are_those_of_scikit_learn_s_values_of_the_same_resamples():
    """Exactly for balanced accuracy and F1; for AUROC, which is linearized, to a tenth of the
    interval's width."""
    probabilities, labels = imbalanced(200)
    found = estimate_metrics(probabilities, labels, 0.9, resamples=150, seed=3)
    values = [reference(probabilities, labels, w) for w in resample_counts(200, 150, 3)]
    lows, highs = np.quantile(values, [0.05, 0.95], axis=0)
    for i, name in enumerate(CLASS_AVERAGES):
        within = 0.1 * (highs[i] - lows[i]) if name == "auroc" else 1e-9
        assert found[name][1:] == pytest.approx((lows[i], highs[i]), abs=within)


def test_a_perfect_result_has_the_interval_of_as_many_images_as_are_worth_it():
    """Classes of 90 and 10 images: as certain as 36 of classes of equal size."""
    labels = np.array([0] * 90 + [1] * 10)
    found = estimate_metrics(np.eye(2)[labels], labels, 0.95, resamples=100, seed=0)
    low, high = wilson_interval(36, 4 / (1 / 90 + 1 / 10), 0.95)
    assert found["balanced_accuracy"] == pytest.approx((1, low, high))
    assert found["auroc"].low == pytest.approx(low)
    assert low < found["top1"].low


def test_one_class_alone_has_an_auroc_of_chance():
    metrics = compute_metrics(np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([0, 0]))
    assert metrics["auroc"] == 0.5
    assert metrics["balanced_accuracy"] == 0.5
