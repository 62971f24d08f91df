import numpy as np
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from headstart.audit import cross_fitting
from headstart.audit.cross_fitting import FOLDS, cross_fit
from tests import cases


def rows(labels: np.ndarray, width: int = 8, distance: float = 4, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(len(labels), width))
    return (noise + distance * np.eye(labels.max() + 1, width)[labels]).astype(np.float32)


def test_every_image_is_predicted_without_its_group():
    of = cases.examples(200)
    groups = np.arange(200) // 2
    folds = cross_fitting._stratified_folds(of.labels, groups)
    np.testing.assert_array_equal(folds[::2], folds[1::2])
    for label in range(4):
        assert set(folds[of.labels == label]) == set(range(FOLDS))


def test_random_labels_of_copies_are_not_predicted_from_the_copy():
    """Each image stands there twice: only a leak predicts labels that are random."""
    rng = np.random.default_rng(1)
    labels = np.repeat(rng.integers(2, size=150), 2)
    x = np.repeat(rng.normal(size=(150, 200)), 2, axis=0).astype(np.float32)
    examples = cases.examples(300, classes=2)
    examples.labels[:] = labels
    grouped = cross_fit(x, examples, np.arange(300) // 2)
    assert (grouped.logits.argmax(axis=1) == labels).mean() < 0.65
    leaking = cross_fit(x, examples, np.arange(300))
    assert (leaking.logits.argmax(axis=1) == labels).mean() > 0.8


def test_agrees_with_scikit_learns_discriminant_analysis_on_the_same_folds(monkeypatch):
    lda = cross_fitting.LDA.model_copy(update={"shrinkages": [0.1], "standardize": True})
    monkeypatch.setattr(cross_fitting, "LDA", lda)
    of = cases.examples(200)
    x = rows(of.labels, distance=2)
    found = cross_fit(x, of, np.arange(200))
    folds = cross_fitting._stratified_folds(of.labels, np.arange(200))
    for fold in range(FOLDS):
        train = folds != fold
        mean, std = x[train].mean(axis=0), x[train].std(axis=0)
        reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        reference.fit((x[train] - mean) / std, of.labels[train])
        expected = reference.predict_proba((x[~train] - mean) / std)
        np.testing.assert_allclose(softmax(found.logits[~train], axis=1), expected, atol=1e-3)


def test_classes_with_few_groups_are_left_out():
    of = cases.examples(84)
    of.labels[:80], of.labels[80:] = np.arange(80) % 3, 3
    found = cross_fit(rows(of.labels), of, np.arange(84))
    np.testing.assert_array_equal(found.classes, [0, 1, 2])
    np.testing.assert_array_equal(found.positions, np.arange(80))
    assert found.probabilities.shape == (80, 3)
    one_class = cross_fit(rows(of.labels), of, of.labels)
    assert len(one_class.positions) == 0
