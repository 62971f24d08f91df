from dataclasses import replace

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge, RidgeClassifier

from headstart.heads.candidate_selection import FitContext
from headstart.heads.class_weights import class_weights
from headstart.heads.fitted_head import Standardization
from headstart.heads.fitting import fit_head
from headstart.heads.ridge_and_lda import fit_lda, fit_ridge
from headstart.store.features import Features, select_images, whole_view
from tests.heads import blobs


def task(standardized: bool, width: int = 24) -> FitContext:
    """Unbalanced, far from zero and wider than class means alone: nothing cancels by chance."""
    made = blobs.features(240, views=2, width=width, distance=0.6, dtype=np.float32)
    kept = np.flatnonzero((made.examples.labels != 1) | (np.arange(240) < 100))
    train = replace(made, values=made.values[kept] + 20, examples=made.examples[kept])
    tune = blobs.features(80, split="tune", width=width, distance=0.6, dtype=np.float32)
    tune = replace(tune, values=tune.values + 20)
    to = Standardization.from_features(train) if standardized else Standardization.identity(width)
    return FitContext(train, tune, to, "cpu")


def rows(features: Features, to: Standardization) -> tuple[np.ndarray, np.ndarray]:
    x = to(features.values.reshape(-1, features.width)).astype(np.float64)
    return x, features.examples.labels.repeat(features.values.shape[1])


NARROW_AND_WIDE = [24, 600]
"""Numbers of features, below and above that of the rows."""


@pytest.mark.parametrize("width", NARROW_AND_WIDE)
@pytest.mark.parametrize("standardized", [True, False])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_ridge_is_scikit_learn_s(standardized: bool, weights: str, width: int):
    made = task(standardized, width)
    recipe = blobs.recipe("ridge", strengths=[0.1, 10, 1000], class_weights=weights)
    x, labels = rows(made.train, made.standardization)
    of_rows = class_weights(weights, made.train.examples)[labels]
    for candidate in fit_ridge(recipe, made):
        reference = Ridge(alpha=candidate.settings["strength"])
        reference.fit(x, 4 * np.eye(4)[labels], sample_weight=of_rows)
        tensors = candidate.model.tensors()
        np.testing.assert_allclose(tensors["weight"], reference.coef_, rtol=1e-3, atol=1e-4)
        test, _ = rows(made.tune, made.standardization)
        np.testing.assert_allclose(
            candidate.model(test.astype(np.float32)), reference.predict(test), rtol=1e-3, atol=1e-3
        )
        if weights == "none":
            classifier = RidgeClassifier(alpha=candidate.settings["strength"]).fit(x, labels)
            ours = candidate.model(test.astype(np.float32)).argmax(axis=1)
            assert (ours == classifier.predict(test)).mean() > 0.98


@pytest.mark.parametrize("width", NARROW_AND_WIDE)
@pytest.mark.parametrize("standardized", [True, False])
def test_lda_is_scikit_learn_s(standardized: bool, width: int):
    made = task(standardized, width)
    recipe = blobs.recipe("lda", shrinkages=[0.01, 0.3, 1])
    x, labels = rows(made.train, made.standardization)
    test, _ = rows(made.tune, made.standardization)
    for candidate in fit_lda(recipe, made):
        reference = LinearDiscriminantAnalysis("lsqr", shrinkage=candidate.settings["shrinkage"])
        scores = reference.fit(x, labels).decision_function(test)
        found = candidate.model(test.astype(np.float32))
        # Scores may differ by what all classes have in common.
        np.testing.assert_allclose(
            found - found.mean(axis=1, keepdims=True),
            scores - scores.mean(axis=1, keepdims=True),
            rtol=2e-2,
            atol=2e-2,
        )
        assert (found.argmax(axis=1) == scores.argmax(axis=1)).mean() > 0.98


@pytest.mark.parametrize("images", [4, 60])
def test_few_rows_give_what_all_dimensions_would(images: int, monkeypatch: pytest.MonkeyPatch):
    """4 images are one of each class, which show no scatter."""
    made = task(True, width=600)
    made = replace(made, train=select_images(made.train, np.arange(images)))
    x, labels = rows(made.train, made.standardization)
    test, _ = rows(made.tune, made.standardization)
    counts = np.bincount(labels)
    means = np.stack([x[labels == c].mean(axis=0) for c in range(4)])
    covariance = np.cov((x - means[labels]).T, bias=True)
    if images == 4:
        x = x[::2]
        labels, means = labels[::2], x
        covariance = np.eye(600) * x.var(axis=0).mean()
        made = replace(made, train=whole_view(made.train))

    sides = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: sides.append(len(a)) or eigh(a))
    for candidate in fit_lda(blobs.recipe("lda", shrinkages=[0.1, 0.9]), made):
        shrinkage = candidate.settings["shrinkage"]
        average = np.trace(covariance) / 600
        shrunk = (1 - shrinkage) * covariance + shrinkage * average * np.eye(600)
        weight = np.linalg.solve(shrunk, means.T).T
        scores = test @ weight.T + np.log(counts / counts.sum()) - (weight * means).sum(1) / 2
        found = candidate.model(test.astype(np.float32))
        np.testing.assert_allclose(
            found - found.mean(axis=1, keepdims=True),
            scores - scores.mean(axis=1, keepdims=True),
            rtol=1e-3,
            atol=1e-3 * np.abs(scores).max(),
        )
    assert sides == [len(x)]


def test_balanced_lda_has_equal_priors():
    made = task(True)
    [plain], [balanced] = (
        fit_lda(blobs.recipe("lda", shrinkages=[1.0], class_weights=weights), made)
        for weights in ("none", "balanced")
    )
    test, _ = rows(made.tune, made.standardization)
    rare = [(m.model(test.astype(np.float32)).argmax(1) == 1).mean() for m in (plain, balanced)]
    assert rare[1] > rare[0]


@pytest.mark.parametrize(
    "recipe",
    [
        blobs.recipe("ridge", strengths=[0.01, 1, 100, 1e6]),
        blobs.recipe("lda", shrinkages=[0.01, 0.1, 0.5, 1]),
    ],
)
def test_tune_chooses_the_strength(recipe):
    shape = {"width": 64, "classes": 8, "distance": 0.25}
    train, tune = blobs.features(80, **shape), blobs.features(200, split="tune", **shape)
    fitted = fit_head(recipe, train, tune)
    assert fitted.score.top1 == max(score.top1 for score in fitted.surface.scores)
    assert len({score.top1 for score in fitted.surface.scores}) > 1
    assert fitted.curve == []
