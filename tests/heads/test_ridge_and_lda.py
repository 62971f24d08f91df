from dataclasses import replace

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge, RidgeClassifier

from headstart.heads.candidate_selection import FitContext
from headstart.heads.fitted_head import Standardization
from headstart.heads.fitting import fit_head
from headstart.heads.ridge_and_lda import fit_lda, fit_ridge
from headstart.store.class_weights import class_weights
from headstart.store.features import Features, select_images, whole_view
from tests.heads import blobs


def make_context(standardized: bool, width: int = 24) -> FitContext:
    """Returns unbalanced features far from zero, so that no error cancels by chance."""
    features = blobs.features(240, views=2, width=width, distance=0.6, dtype=np.float32)
    kept = np.flatnonzero((features.examples.labels != 1) | (np.arange(240) < 100))
    train = replace(features, values=features.values[kept] + 20, examples=features.examples[kept])
    tune = blobs.features(80, split="tune", width=width, distance=0.6, dtype=np.float32)
    tune = replace(tune, values=tune.values + 20)
    standardization = (
        Standardization.from_features(train) if standardized else Standardization.identity(width)
    )
    return FitContext(train, tune, standardization, "cpu")


def rows(features: Features, standardization: Standardization) -> tuple[np.ndarray, np.ndarray]:
    """Returns all views of all images: x [N * V, D] float64 and labels [N * V]."""
    x = standardization(features.values.reshape(-1, features.width)).astype(np.float64)
    return x, features.examples.labels.repeat(features.values.shape[1])


NARROW_AND_WIDE = [24, 600]
"""Numbers of features, below and above the number of rows."""


@pytest.mark.parametrize("width", NARROW_AND_WIDE)
@pytest.mark.parametrize("standardized", [True, False])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_ridge_is_scikit_learns(standardized: bool, weights: str, width: int):
    context = make_context(standardized, width)
    recipe = blobs.recipe("ridge", strengths=[0.1, 10, 1000], class_weights=weights)
    x, labels = rows(context.train, context.standardization)
    row_weights = class_weights(weights, labels, len(context.train.examples.classes))[labels]
    for candidate in fit_ridge(recipe, context):
        reference = Ridge(alpha=candidate.settings["strength"])
        reference.fit(x, 4 * np.eye(4)[labels], sample_weight=row_weights)
        tensors = candidate.model.tensors()
        np.testing.assert_allclose(tensors["weight"], reference.coef_, rtol=1e-3, atol=1e-4)
        test, _ = rows(context.tune, context.standardization)
        np.testing.assert_allclose(
            candidate.model(test.astype(np.float32)), reference.predict(test), rtol=1e-3, atol=1e-3
        )
        if weights == "none":
            classifier = RidgeClassifier(alpha=candidate.settings["strength"]).fit(x, labels)
            ours = candidate.model(test.astype(np.float32)).argmax(axis=1)
            assert (ours == classifier.predict(test)).mean() > 0.98


@pytest.mark.parametrize("width", NARROW_AND_WIDE)
@pytest.mark.parametrize("standardized", [True, False])
def test_lda_is_scikit_learns(standardized: bool, width: int):
    context = make_context(standardized, width)
    recipe = blobs.recipe("lda", shrinkages=[0.01, 0.3, 1])
    x, labels = rows(context.train, context.standardization)
    test, _ = rows(context.tune, context.standardization)
    for candidate in fit_lda(recipe, context):
        reference = LinearDiscriminantAnalysis("lsqr", shrinkage=candidate.settings["shrinkage"])
        scores = reference.fit(x, labels).decision_function(test)
        logits = candidate.model(test.astype(np.float32))
        # Scores may differ by a term that is the same for all classes.
        np.testing.assert_allclose(
            logits - logits.mean(axis=1, keepdims=True),
            scores - scores.mean(axis=1, keepdims=True),
            rtol=2e-2,
            atol=2e-2,
        )
        assert (logits.argmax(axis=1) == scores.argmax(axis=1)).mean() > 0.98


@pytest.mark.parametrize("images", [4, 60])
def test_computing_in_the_subspace_of_few_rows_is_exact(
    images: int, monkeypatch: pytest.MonkeyPatch
):
    """With 4 images, one per class, there is no scatter within classes."""
    context = make_context(True, width=600)
    context = replace(context, train=select_images(context.train, np.arange(images)))
    x, labels = rows(context.train, context.standardization)
    test, _ = rows(context.tune, context.standardization)
    counts = np.bincount(labels)
    means = np.stack([x[labels == c].mean(axis=0) for c in range(4)])
    covariance = np.cov((x - means[labels]).T, bias=True)
    if images == 4:
        x = x[::2]
        labels, means = labels[::2], x
        covariance = np.eye(600) * x.var(axis=0).mean()
        context = replace(context, train=whole_view(context.train))

    matrix_sizes = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: matrix_sizes.append(len(a)) or eigh(a))
    for candidate in fit_lda(blobs.recipe("lda", shrinkages=[0.1, 0.9]), context):
        shrinkage = candidate.settings["shrinkage"]
        average = np.trace(covariance) / 600
        shrunk_covariance = (1 - shrinkage) * covariance + shrinkage * average * np.eye(600)
        weight = np.linalg.solve(shrunk_covariance, means.T).T
        scores = test @ weight.T + np.log(counts / counts.sum()) - (weight * means).sum(1) / 2
        logits = candidate.model(test.astype(np.float32))
        np.testing.assert_allclose(
            logits - logits.mean(axis=1, keepdims=True),
            scores - scores.mean(axis=1, keepdims=True),
            rtol=1e-3,
            atol=1e-3 * np.abs(scores).max(),
        )
    assert matrix_sizes == [len(x)]


def test_lda_of_one_image_a_class_is_the_nearest_one_at_the_scale_of_all_images():
    train = blobs.features(4, width=24, dtype=np.float32)
    made = FitContext(train, make_context(False).tune, Standardization.identity(24), "cpu")
    images, _ = rows(train, made.standardization)
    test, _ = rows(made.tune, made.standardization)
    squares = ((test[:, None] - images) ** 2).sum(axis=2)
    expected = -squares / (2 * images.var(axis=0).mean())
    for candidate in fit_lda(blobs.recipe("lda", shrinkages=[0.01, 1]), made):
        found = candidate.model(test.astype(np.float32))
        np.testing.assert_allclose(
            found - found.mean(axis=1, keepdims=True),
            expected - expected.mean(axis=1, keepdims=True),
            rtol=1e-3,
            atol=1e-2,
        )


def test_balanced_lda_has_equal_priors():
    context = make_context(True)
    [plain], [balanced] = (
        fit_lda(blobs.recipe("lda", shrinkages=[1.0], class_weights=weights), context)
        for weights in ("none", "balanced")
    )
    test, _ = rows(context.tune, context.standardization)
    rare_shares = [
        (m.model(test.astype(np.float32)).argmax(1) == 1).mean() for m in (plain, balanced)
    ]
    assert rare_shares[1] > rare_shares[0]


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
    assert fitted.score.value == max(score.value for score in fitted.surface.scores)
    assert len({score.value for score in fitted.surface.scores}) > 1
    assert fitted.curve == []
