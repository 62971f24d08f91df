import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from headstart.audit import neighbors
from headstart.audit.neighbors import find_neighbors, upper_limit


def directions(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_neighbors_are_those_of_scikit_learn():
    x = directions(200)
    found = find_neighbors(x, 5)
    reference = NearestNeighbors(n_neighbors=5, metric="cosine").fit(x)
    distance, positions = reference.kneighbors()
    np.testing.assert_array_equal(found.positions, positions)
    np.testing.assert_allclose(found.similarity, 1 - distance, atol=1e-5)


def test_copies_are_each_others_neighbors_and_never_their_own():
    x = np.repeat(directions(5), 4, axis=0)
    found = find_neighbors(x, 3)
    rows = np.arange(len(x))
    assert (found.positions != rows[:, None]).all()
    np.testing.assert_array_equal(found.positions // 4, np.repeat(rows[:, None] // 4, 3, axis=1))


def test_fewer_images_than_neighbors():
    assert find_neighbors(directions(3), 10).positions.shape == (3, 2)


def test_the_approximate_search_finds_most_of_the_exact_neighbors(monkeypatch: pytest.MonkeyPatch):
    x = directions(3000)
    exact = find_neighbors(x, 5)
    monkeypatch.setattr(neighbors, "EXACT_UP_TO", 1000)
    found = find_neighbors(x, 5)
    shared = [len(set(a) & set(b)) for a, b in zip(exact.positions, found.positions, strict=True)]
    assert np.mean(shared) / 5 > 0.5
    assert (found.positions != np.arange(len(x))[:, None]).all()


def test_the_limit_ignores_outliers():
    values = np.random.default_rng(0).normal(size=10_000)
    with_outliers = np.concatenate([values, np.full(100, 1e6)])
    assert upper_limit(values, 3) == pytest.approx(3, abs=0.1)
    assert upper_limit(with_outliers, 3) == pytest.approx(3, abs=0.1)
