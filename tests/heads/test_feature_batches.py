from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.heads.feature_batches import (
    FeatureBatches,
    InMemoryBatches,
    StreamedBatches,
    make_batches,
)
from headstart.heads.fitted_head import Standardization
from headstart.heads.fitting import fit_head
from headstart.store.features import Features, FeaturesOnDisk, open_features, whole_view
from headstart.store.shards import shard_path
from tests.heads import blobs

CPU = torch.device("cpu")


def numbered(images: int, views: int) -> Features:
    """Returns features with the image's number in column 0 and the view's in column 1."""
    features = blobs.features(images, views=views, width=3, dtype=np.float32)
    features.values[..., 0] = np.arange(images)[:, None]
    features.values[..., 1] = np.arange(views)
    return features


@contextmanager
def streamed(folder: Path, features: Features, limit: int) -> Iterator[Features]:
    blobs.save(folder / "train.h5", features)
    with open_features(folder / "train.h5", limit) as opened:
        yield opened


@given(
    images=st.integers(1, 300),
    views=st.integers(1, 3),
    batch_size=st.integers(1, 90),
    limit=st.integers(0, 3000),
)
@settings(deadline=None, max_examples=25)
def test_an_epoch_is_every_image_once(
    tmp_path_factory: pytest.TempPathFactory, images: int, views: int, batch_size: int, limit: int
):
    in_memory = numbered(images, views)

    def check(feature_batches: FeatureBatches) -> None:
        order = torch.Generator().manual_seed(0)
        batches = list(feature_batches.shuffled(batch_size, order))
        assert [len(x) for x, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
        x, labels = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
        assert sorted(x[:, 0].tolist()) == list(range(images))
        np.testing.assert_array_equal(labels, in_memory.examples.labels[x[:, 0].int()])
        assert set(x[:, 1].tolist()) <= set(range(views))
        again = torch.cat([x for x, _ in feature_batches.shuffled(batch_size, order)])
        if images > 50:
            assert not torch.equal(x, again)
            assert len(x[:, 1].unique()) == views
        in_order = torch.cat([x for x, _ in feature_batches.in_order(batch_size)])
        np.testing.assert_array_equal(in_order.numpy(), in_memory.values[:, 0])

    identity = Standardization.identity(3)
    check(InMemoryBatches(in_memory, identity, CPU))
    with streamed(tmp_path_factory.mktemp("features"), in_memory, limit) as opened:
        if isinstance(opened.values, FeaturesOnDisk):
            check(StreamedBatches(opened, identity, CPU))


def test_features_that_fit_are_held_and_others_are_streamed(tmp_path: Path):
    in_memory = numbered(100, 2)
    for limit, kind in (
        (None, InMemoryBatches),
        (in_memory.values.nbytes, InMemoryBatches),
        (2000, StreamedBatches),
    ):
        blobs.save(tmp_path / "train.h5", in_memory)
        with open_features(tmp_path / "train.h5", limit) as opened:
            assert type(make_batches(opened, Standardization.identity(3), CPU)) is kind


def test_streaming_holds_no_more_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    in_memory = numbered(5000, 1)
    pool_sizes = []
    cat = torch.cat

    def recording_cat(parts: Any) -> Any:
        pool = cat(parts)
        pool_sizes.append(pool.nbytes)
        return pool

    monkeypatch.setattr(torch, "cat", recording_cat)
    with streamed(tmp_path, in_memory, 20_000) as opened:
        list(
            StreamedBatches(opened, Standardization.identity(3), CPU).shuffled(
                32, torch.Generator()
            )
        )
    assert 5_000 < max(pool_sizes) <= 20_000


@pytest.mark.parametrize("recipe", [blobs.linear(), blobs.recipe("lda", shrinkages=[0.1, 0.5])])
def test_streamed_features_train_as_well(tmp_path: Path, recipe: Any):
    shape: dict[str, Any] = {"width": 64, "classes": 10, "distance": 0.4, "views": 2}
    train = blobs.features(1000, **shape)
    tune = blobs.features(1000, split="tune", **shape | {"views": 1})
    in_memory = fit_head(recipe, train, tune)
    with streamed(tmp_path, train, train.values.nbytes // 8) as opened:
        from_file = fit_head(recipe, opened, tune)
    # The binomial noise of 1,000 images is an upper bound, because both use the same images.
    assert abs(in_memory.score.value - from_file.score.value) < 2 * np.sqrt(0.25 / 1000)
    assert in_memory.score.value > 0.5


def test_the_whole_view_alone(tmp_path: Path):
    in_memory = numbered(20, 3)
    with streamed(tmp_path, in_memory, 10) as opened:
        for features in (in_memory, opened):
            alone = whole_view(features)
            assert alone.values.shape == (20, 1, 3)
            assert alone.views == ["whole"]
            np.testing.assert_array_equal(alone.values[2:5], in_memory.values[2:5, :1])


@pytest.mark.parametrize("kind", ["lda", "ridge"])
def test_a_head_on_streamed_shards_is_the_one_on_features_in_memory(tmp_path: Path, kind: str):
    settings = {"shrinkages": [0.1, 0.5]} if kind == "lda" else {"strengths": [1.0, 10.0]}
    features = blobs.features(5000, width=8, classes=3)
    blobs.save(tmp_path / "one.h5", features)
    for number, rows in enumerate(np.split(np.arange(5000), [1234, 3000])):
        own = replace(features, values=features.values[rows], examples=features.examples[rows])
        blobs.save(shard_path(tmp_path / "three.h5", number, 3), own)
    heads = []
    for name, limit in (("one.h5", None), ("three.h5", None), ("three.h5", 10_000)):
        with open_features(tmp_path / name, limit) as opened:
            assert isinstance(opened.values, FeaturesOnDisk) == (limit is not None)
            heads.append(fit_head(blobs.recipe(kind, **settings), opened, features).head)
    for head in heads[1:]:
        for name, tensor in heads[0].model.tensors().items():
            np.testing.assert_array_equal(head.model.tensors()[name], tensor)
