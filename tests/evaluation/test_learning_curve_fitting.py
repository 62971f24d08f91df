import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from headstart import config
from headstart.core.errors import UserError
from headstart.evaluation.learning_curve_fitting import choose_subsets, fit_learning_curve
from headstart.heads.fitting import fit_head
from headstart.metrics.classification_metrics import estimate_accuracy
from headstart.store.examples import UNLABELED
from headstart.store.features import Features, FeaturesOnDisk, open_features, select_images
from tests.heads import blobs

SAMPLING = config.Evaluate(confidence=0.95, coverage=0.9, resamples=200, seed=3)
SPLITS = ("train", "tune", "val")


def asked(*images_per_class: int, subsets: int = 2) -> config.LearningCurve:
    return config.LearningCurve(
        heads=[], images_per_class=list(images_per_class), subsets=subsets, seed=0
    )


def three_splits(**shape: Any) -> list[Features]:
    counts = dict(zip(SPLITS, (120, 60, 90), strict=True))
    return [blobs.features(counts[split], split=split, **shape) for split in SPLITS]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=6),
    st.lists(st.integers(1, 15), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_subsets_are_nested_and_as_large_as_asked(
    counts: list[int], wanted: list[int], subsets: int, seed: int
):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = choose_subsets(labels, wanted, subsets, seed)
    *fewer, largest = chosen
    assert fewer == sorted({n for n in wanted if n < max(counts)})
    assert largest == max(counts)
    [every] = chosen[largest]
    np.testing.assert_array_equal(every, np.arange(len(labels)))
    for n in fewer:
        assert len(chosen[n]) == subsets
        for rows in chosen[n]:
            assert (np.diff(rows) > 0).all()
            taken = np.bincount(labels[rows], minlength=len(counts))
            np.testing.assert_array_equal(taken, np.minimum(counts, n))
    for n, more in itertools.pairwise(fewer):
        for small, large in zip(chosen[n], chosen[more], strict=True):
            assert set(small) <= set(large)


def test_subsets_differ_and_one_seed_gives_one_choice():
    labels = np.arange(400) % 4
    first, second = choose_subsets(labels, [10], 2, seed=0)[10]
    assert set(first) != set(second)
    again = choose_subsets(labels, [3, 10, 50], 3, seed=0)
    np.testing.assert_array_equal(again[10][1], second)
    assert set(choose_subsets(labels, [10], 2, seed=1)[10][0]) != set(first)


@pytest.mark.parametrize("kind", ["linear", "lda", "ridge", "nearest_neighbors"])
def test_every_point_is_what_runs_of_their_own_give(kind: str):
    train, tune, val = three_splits(views=2, distance=0.4)
    settings: dict[str, Any] = {
        "linear": {"train_views": "all"},
        "lda": {"shrinkages": [0.1, 0.9], "train_views": "all"},
        "ridge": {"strengths": [1, 100]},
        "nearest_neighbors": {"k": [1, 5], "temperature": [0.1]},
    }[kind]
    recipe = blobs.recipe(kind, **settings)
    few, every = fit_learning_curve(recipe, train, tune, val, asked(5), SAMPLING, "cpu")
    assert (few.images_per_class, few.train_images, few.subsets) == (5, 20, 2)
    assert (every.images_per_class, every.train_images, every.subsets) == (30, 120, 1)

    def right(train: Features) -> np.ndarray:
        logits = fit_head(recipe, train, tune, "cpu").head.logits(val)[:, 0]
        return logits.argmax(axis=1) == val.examples.labels

    alone = estimate_accuracy(right(train), 0.95, 200, 3)
    assert every[3:] == (*alone, alone.value, alone.value)
    tops = []
    for rows in choose_subsets(train.examples.labels, [5], 2, seed=0)[5]:
        part = replace(train, values=train.values[rows], examples=train.examples[rows])
        tops.append(right(part).mean())
    assert few.top1 == pytest.approx(np.mean(tops))
    assert (few.lowest, few.highest) == (min(tops), max(tops))
    assert few.low <= few.top1 <= few.high


def test_one_image_of_each_class_makes_lda_the_nearest_mean():
    train, tune, val = three_splits(width=8, dtype=np.float32)
    [rows] = choose_subsets(train.examples.labels, [1], 1, seed=0)[1]
    head = fit_head(
        blobs.recipe("lda", shrinkages=[0.1, 0.5]), select_images(train, rows), tune
    ).head
    to = head.standardization
    reference = KNeighborsClassifier(1)
    reference.fit(to(train.values[rows, 0]), train.examples.labels[rows])
    found = head.logits(val)[:, 0].argmax(axis=1)
    np.testing.assert_array_equal(found, reference.predict(to(val.values[:, 0])))


def test_more_images_help():
    train, tune, val = three_splits(width=32, distance=0.3)
    recipe = blobs.recipe("lda", shrinkages=[0.1, 0.5, 0.9])
    wanted = asked(1, 4, subsets=4)
    curve = fit_learning_curve(recipe, train, tune, val, wanted, SAMPLING)
    tops = [point.top1 for point in curve]
    assert tops == sorted(tops)
    assert tops[-1] > tops[0] + 0.1


@pytest.mark.parametrize("limit", [0, 1500])
def test_features_on_disk_give_the_same_curve(tmp_path: Path, limit: int):
    """1500 bytes hold 5 images of each class, 40 rows of 32 bytes, but not 20."""
    train, tune, val = three_splits(views=2, distance=0.4)
    blobs.save(tmp_path / "train.h5", train)
    recipe = blobs.recipe("lda", shrinkages=[0.1, 0.9], train_views="all")
    rest = (tune, val, asked(5, 20), SAMPLING)
    with open_features(tmp_path / "train.h5", limit) as streamed:
        assert isinstance(streamed.values, FeaturesOnDisk)
        found = fit_learning_curve(recipe, streamed, *rest)
        for n, held in ((5, limit > 0), (20, False)):
            [rows] = choose_subsets(train.examples.labels, [n], 1, seed=0)[n]
            part = select_images(streamed, rows)
            assert isinstance(part.values, np.ndarray) == held
            assert part.values.shape == (4 * n, 2, 16)
            np.testing.assert_array_equal(part.values[3:7], train.values[rows][3:7])
    assert found == fit_learning_curve(recipe, train, *rest)


def test_a_gradient_head_learns_from_a_subset_on_disk(tmp_path: Path):
    train, tune, val = three_splits(views=2)
    blobs.save(tmp_path / "train.h5", train)
    recipe = blobs.recipe("linear", train_views="all")
    with open_features(tmp_path / "train.h5", 100) as streamed:
        curve = fit_learning_curve(recipe, streamed, tune, val, asked(20), SAMPLING)
    assert curve[0].top1 > 0.8


def test_what_cannot_be_learnt_or_reported_is_said_first():
    train, tune, val = three_splits()
    recipe = blobs.recipe("lda", shrinkages=[0.5])
    unlabeled = blobs.with_labels(val, np.full(90, UNLABELED))
    with pytest.raises(UserError, match="val holds no or unlabeled images"):
        fit_learning_curve(recipe, train, tune, unlabeled, asked(1), SAMPLING)
    missing = blobs.with_labels(train, np.arange(120) % 3)
    with pytest.raises(UserError, match="1 classes have no training images"):
        fit_learning_curve(recipe, missing, tune, val, asked(1), SAMPLING)
    other = replace(tune, provenance={})
    with pytest.raises(UserError, match="train and tune were extracted differently"):
        fit_learning_curve(recipe, train, other, val, asked(1), SAMPLING)
