from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart.core.errors import UserError
from headstart.heads.fitting import fit_head
from headstart.store.features import Features
from tests.heads import blobs

TUNE = blobs.features(40, split="tune")


def test_linear_is_as_good_as_logistic_regression():
    shape = {"classes": 10, "width": 64, "distance": 0.5}
    train, tune, val = (
        blobs.features(n, split=split, **shape)
        for n, split in ((600, "train"), (200, "tune"), (1000, "val"))
    )
    ours = fit_head(
        blobs.linear(epochs=15, learning_rate=0.001, weight_decay=0.01), train, tune
    ).head
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    theirs.fit(train.values[:, 0].astype(np.float32), train.examples.labels)
    reference = theirs.score(val.values[:, 0].astype(np.float32), val.examples.labels)
    top1 = (ours.logits(val)[:, 0].argmax(1) == val.examples.labels).mean()
    # Half of a 95 % interval for n = 1000, as in the tests with real data.
    assert top1 > reference - 1.96 * np.sqrt(reference * (1 - reference) / 1000)
    assert 0.5 < reference < 0.99


@pytest.mark.parametrize(("train_views", "passes"), [("whole", 60 + 40), ("all", 3 * 60 + 40)])
def test_passes_count_the_features_used(train_views: str, passes: int):
    tune = blobs.features(40, views=3, split="tune")
    recipe = blobs.recipe("ridge", strengths=[1.0, 10.0], train_views=train_views)
    train = blobs.features(60, views=3)
    assert fit_head(recipe, train, tune).head.passes == passes

    two = {"concatenation": [{"weights": "a"}, {"weights": "b"}]}
    train, tune = (replace(features, provenance=two) for features in (train, tune))
    assert fit_head(recipe, train, tune).head.passes == 2 * passes


def test_the_temperature_is_the_one_that_tune_likes_best():
    tune = blobs.features(200, views=2, split="tune", distance=0.4)
    recipe = blobs.recipe("lda", shrinkages=[0.01])  # of few images, so too sure
    head = fit_head(recipe, blobs.features(60, distance=0.4), tune).head
    logits = head.logits(tune)[:, 0].astype(np.float64)

    def loss(temperature: float) -> float:
        return log_loss(tune.examples.labels, softmax(logits / temperature, axis=1))

    best = loss(head.temperature)
    assert best < min(loss(head.temperature * 1.02), loss(head.temperature / 1.02))
    assert best < loss(1.0) - 1e-3


def test_a_class_without_training_images_is_named():
    train = blobs.features(60)
    labels = np.where(train.examples.labels == 2, 1, train.examples.labels)
    with pytest.raises(UserError, match="no training images: plunger, plumber's helper; add"):
        fit_head(blobs.linear(), blobs.with_labels(train, labels), TUNE)


def test_a_single_class_is_refused():
    with pytest.raises(UserError, match="the only class is 'convertible'"):
        fit_head(blobs.linear(), blobs.features(classes=1), blobs.features(classes=1, split="tune"))


def test_unlabeled_images_are_refused():
    train = blobs.features(60)
    unlabeled = blobs.with_labels(train, np.full(60, -1))
    with pytest.raises(UserError, match="train has no images, or images without labels"):
        fit_head(blobs.linear(), unlabeled, TUNE)


@pytest.mark.parametrize("split", ["train", "tune"])
def test_features_that_are_not_finite_are_refused(split: str):
    features = {"train": blobs.features(60), "tune": blobs.features(40, split="tune")}
    features[split].values[7, 0, 0] = np.nan
    with pytest.raises(UserError, match=rf"'{split}/images/{split}_7.JPEG' are NaN or infinite"):
        fit_head(blobs.linear(), features["train"], features["tune"])


@pytest.mark.parametrize(
    "stale",
    [
        replace(TUNE, provenance=TUNE.provenance | {"weights": "abab"}),
        replace(TUNE, examples=replace(TUNE.examples, classes=TUNE.examples.classes[::-1])),
    ],
)
def test_train_and_tune_of_different_extractions_are_refused(stale: Features):
    with pytest.raises(UserError, match="train and tune were extracted differently"):
        fit_head(blobs.linear(), blobs.features(60), stale)
