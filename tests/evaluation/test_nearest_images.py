import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from headstart.evaluation import nearest_images as module
from headstart.evaluation.nearest_images import nearest_images
from headstart.store.features import Features
from tests import cases


def features(n: int, split: str, seed: int, dtype: type = np.float16) -> Features:
    values = np.random.default_rng(seed).normal(size=(n, 2, 24)).astype(dtype)
    return Features(values, ["whole", "whole+mirror"], cases.examples(n, split=split), {})


@pytest.mark.parametrize("blocks", [(7, 5), (4096, 1024)])
def test_they_are_those_of_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, blocks: tuple[int, int]
) -> None:
    monkeypatch.setattr(module, "TRAIN_BLOCK", blocks[0])
    monkeypatch.setattr(module, "VAL_BLOCK", blocks[1])
    train, val = features(60, "train", 0), features(23, "val", 1)
    found = nearest_images(train, val)
    reference = NearestNeighbors(n_neighbors=5, metric="cosine")
    reference.fit(train.values[:, 0].astype(np.float64))
    distance, rows = reference.kneighbors(val.values[:, 0].astype(np.float64))
    assert found.ids == val.examples.ids
    assert found.nearest.tolist() == [[train.examples.ids[i] for i in row] for row in rows]
    np.testing.assert_allclose(found.similarity, 1 - distance, atol=1e-5)


def test_fewer_training_images_than_neighbors_and_features_of_zeros():
    train, val = features(3, "train", 0), features(4, "val", 1)
    val.values[0] = 0
    found = nearest_images(train, val)
    assert found.nearest.shape == (4, 3)
    assert found.similarity[0].tolist() == [0, 0, 0]
