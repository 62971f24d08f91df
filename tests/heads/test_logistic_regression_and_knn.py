from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from headstart.heads import logistic_regression_and_knn
from headstart.heads.fitting import fit_head
from headstart.heads.logistic_regression_and_knn import SINGLE_THREAD_LIMIT
from tests.heads import blobs


@pytest.mark.parametrize("classes", [2, 4])
def test_logistic_regression_is_scikit_learns(classes: int):
    shape = {"classes": classes, "distance": 0.5}
    train, tune = blobs.features(120, **shape), blobs.features(60, split="tune", **shape)
    recipe = blobs.recipe("logistic_regression", c=[0.01], class_weights="balanced")
    head = fit_head(recipe, train, tune).head
    standardize = head.standardization
    reference = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000)
    reference.fit(standardize(train.values[:, 0].astype(np.float32)), train.examples.labels)
    expected = reference.predict_proba(standardize(tune.values[:, 0].astype(np.float32)))
    np.testing.assert_allclose(softmax(head.logits(tune)[:, 0], axis=1), expected, atol=1e-4)


@pytest.mark.parametrize(("limit", "threads"), [(SINGLE_THREAD_LIMIT, 1), (1, 2)])
def test_small_logistic_regressions_take_one_thread(
    limit: int, threads: int, monkeypatch: pytest.MonkeyPatch
):
    def blas_threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    threads_in_fit = []
    fit = LogisticRegression.fit

    def recording_fit(self: LogisticRegression, *data: Any) -> LogisticRegression:
        threads_in_fit.append(blas_threads())
        return fit(self, *data)

    monkeypatch.setattr(LogisticRegression, "fit", recording_fit)
    monkeypatch.setattr(logistic_regression_and_knn, "SINGLE_THREAD_LIMIT", limit)
    train, tune = blobs.features(120), blobs.features(60, split="tune")
    before = blas_threads()
    with threadpool_limits(2, user_api="blas"):
        fit_head(blobs.recipe("logistic_regression", c=[0.01]), train, tune)
    assert set(threads_in_fit[0]) == {threads}
    assert blas_threads() == before


def test_tune_chooses_c():
    shape = {"width": 64, "classes": 8, "distance": 0.25}
    train, tune = blobs.features(80, **shape), blobs.features(200, split="tune", **shape)
    fitted = fit_head(blobs.recipe("logistic_regression", c=[1e-6, 0.01, 1]), train, tune)
    assert [settings["c"] for settings in fitted.surface.settings] == [1e-6, 0.01, 1]
    assert fitted.score.value == max(score.value for score in fitted.surface.scores)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (10, 0.07), (40, 1.0)])
def test_nearest_neighbors_are_scikit_learns(k: int, temperature: float):
    train = blobs.features(150, distance=0.4, dtype=np.float32)
    val = blobs.features(700, split="val", distance=0.4, dtype=np.float32)
    tune = blobs.features(40, split="tune", distance=0.4, dtype=np.float32)
    recipe = blobs.recipe("nearest_neighbors", k=[k], temperature=[temperature], standardize=False)
    head = fit_head(recipe, train, tune).head
    votes: Any = lambda distance: np.exp((1 - distance) / temperature)  # noqa: E731
    reference = KNeighborsClassifier(k, metric="cosine", weights=votes)
    reference.fit(train.values[:, 0], train.examples.labels)
    expected = reference.predict_proba(val.values[:, 0])
    shares = np.exp(head.logits(val)[:, 0])
    np.testing.assert_allclose(shares, np.maximum(expected, 1e-6), atol=2e-3)


def test_fewer_neighbors_than_k_and_features_of_zeros_are_allowed():
    train, tune = blobs.features(8), blobs.features(8, split="tune")
    tune.values[3] = 0
    recipe = blobs.recipe("nearest_neighbors", k=[100], temperature=[0.001], standardize=False)
    assert np.isfinite(fit_head(recipe, train, tune).head.logits(tune)).all()
