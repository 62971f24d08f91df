import numpy as np
from scipy.special import softmax

from headstart.audit.cross_fitting import OutOfSample, cross_fit
from headstart.audit.labels import alike_classes, divided_classes, wrong_labels
from tests import cases


def predictions(skill: float, n: int = 600, classes: int = 4, seed: int = 0) -> OutOfSample:
    """Calibrated by construction: labels are drawn from the probabilities."""
    rng = np.random.default_rng(seed)
    logits = skill * rng.normal(size=(n, classes))
    probabilities = softmax(logits, axis=1)
    labels = np.array([rng.choice(classes, p=p) for p in probabilities])
    return OutOfSample(np.arange(n), labels, np.arange(classes), logits, probabilities)


def test_flipped_labels_are_found_with_the_class_they_were_of():
    of = cases.examples(400)
    truth = of.labels.copy()
    rng = np.random.default_rng(0)
    flipped = rng.choice(400, 12, replace=False)
    of.labels[flipped] = (truth[flipped] + 1) % 4
    x = (rng.normal(size=(400, 8)) + 6 * np.eye(4, 8)[truth]).astype(np.float32)
    found = wrong_labels(cross_fit(x, of, np.arange(400)))
    assert len(found) >= 8
    assert {issue.position for issue in found} <= set(flipped)
    assert all(issue.suggested == truth[issue.position] for issue in found)
    assert [issue.confidence for issue in found] == sorted(issue.confidence for issue in found)


def test_few_labels_are_called_wrong_where_all_are_right_but_the_task_is_hard():
    hard = predictions(skill=1.5)
    assert (hard.probabilities.argmax(axis=1) != hard.labels).mean() > 0.25
    assert len(wrong_labels(hard)) <= 6


def test_no_predictions_no_findings():
    none, no_rows = np.empty(0, np.int64), np.empty((0, 0))
    empty = OutOfSample(none, none, none, no_rows, no_rows)
    assert wrong_labels(empty) == []
    assert alike_classes(empty) == []


def test_two_classes_that_are_one_are_alike():
    rng = np.random.default_rng(0)
    of = cases.examples(400)
    kind = np.minimum(of.labels, 2)  # the third and the fourth class are the same
    x = (rng.normal(size=(400, 8)) + 6 * np.eye(3, 8)[kind]).astype(np.float32)
    [found] = alike_classes(cross_fit(x, of, np.arange(400)))
    assert (found.first, found.second) == (2, 3)
    assert 0.3 < found.separation < 0.7


def test_a_class_of_two_kinds_is_divided():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    x = rng.normal(size=(300, 20))
    x[labels == 1, 0] += np.where(np.arange(100) % 3, 12, -12)
    [found] = divided_classes(x.astype(np.float32), labels)
    assert found.label == 1
    assert found.silhouette > 0.5
