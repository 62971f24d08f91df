from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from headstart.core.errors import UserError
from headstart.heads import familiarity as familiarity_module
from headstart.heads.familiarity import (
    Familiarity,
    fit_familiarity,
    load_familiarity,
    save_familiarity,
)


def clusters(count: int, classes: range, seed: int) -> np.ndarray:
    """Features [count, 40] around the centers of some classes."""
    centers = np.random.default_rng(0).normal(size=(10, 40)) * 3
    rng = np.random.default_rng(seed)
    return (centers[rng.choice(classes, count)] + rng.normal(size=(count, 40))).astype(np.float32)


@pytest.fixture(scope="module")
def familiarity() -> Familiarity:
    return fit_familiarity(clusters(300, range(8), 1), clusters(100, range(8), 2))


def test_it_is_the_mean_cosine_to_the_nearest_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    train, tune, new = (clusters(n, range(8), seed) for seed, n in enumerate((60, 30, 50)))
    monkeypatch.setattr(familiarity_module, "BLOCK", 7)
    found = fit_familiarity(train, tune).percentiles(new)

    mean, std = train.mean(axis=0), train.std(axis=0)
    pca = PCA(40).fit((train - mean) / std)
    projected = [pca.transform((rows - mean) / std) for rows in (train, tune, new)]
    neighbors = NearestNeighbors(n_neighbors=10, metric="cosine").fit(projected[0])
    of_tune, of_new = (1 - neighbors.kneighbors(rows)[0].mean(axis=1) for rows in projected[1:])
    expected = [(of_tune <= similarity).mean() * 100 for similarity in of_new]
    np.testing.assert_allclose(found, expected, atol=100 / 30 + 1e-9)  # a tie may fall either way
    assert np.isclose(found, expected).mean() > 0.8


def test_images_of_tunes_kind_are_spread_evenly_and_others_are_at_the_end(
    familiarity: Familiarity,
) -> None:
    known, unknown = (
        familiarity.percentiles(clusters(200, classes, 3)) for classes in (range(8), range(8, 10))
    )
    assert 35 < known.mean() < 65
    assert (known < 5).mean() < 0.15
    truth = np.repeat([1, 0], [len(known), len(unknown)])
    assert roc_auc_score(truth, np.concatenate([known, unknown])) > 0.98


def test_it_survives_being_saved(familiarity: Familiarity, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_familiarity(tmp_path / name, familiarity)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    new = clusters(50, range(10), 4)
    np.testing.assert_allclose(
        load_familiarity(tmp_path / "a").percentiles(new), familiarity.percentiles(new), atol=1.01
    )


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"none")
    for name in ("a", "b"):
        with pytest.raises(UserError, match=f"{name} is missing or damaged; train the run again"):
            load_familiarity(tmp_path / name)


@pytest.mark.parametrize(("train", "tune"), [((3, 40), (1, 40)), ((300, 2), (5, 2))])
def test_few_images_and_few_features_will_do(train: tuple[int, int], tune: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    fitted = fit_familiarity(rng.normal(size=train), rng.normal(size=tune))
    found = fitted.percentiles(rng.normal(size=(4, train[1])).astype(np.float32))
    assert ((found >= 0) & (found <= 100)).all()


def test_constant_features_do_no_harm() -> None:
    rows = clusters(50, range(3), 5)
    rows[:, 7] = 2.5
    found = fit_familiarity(rows, rows).percentiles(rows)
    assert np.isfinite(found).all()
