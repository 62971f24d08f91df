"""Heads as estimators: their defaults are params.yaml's, and their fits are the stages'."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import headstart as hs
from headstart import config
from headstart.api.extractor import ExtractedFeatures
from headstart.api.head_estimators import hold_out
from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.heads.fitted_head import HEAD_FILE, load_head
from headstart.store.examples import write_examples
from tests.cases import ROOT, run_stage

ESTIMATORS = {
    "linear": hs.LinearHead,
    "mlp": hs.MLPHead,
    "logistic_regression": hs.LogisticRegressionHead,
    "nearest_neighbors": hs.NearestNeighborsHead,
    "ridge": hs.RidgeHead,
    "lda": hs.LDAHead,
    "linear_sweep": hs.SweepHead,
}
QUICK = {
    "linear": hs.LinearHead(epochs=2),
    "mlp": hs.MLPHead(epochs=2, hidden=[8]),
    "logistic_regression": hs.LogisticRegressionHead(c=[0.01]),
    "nearest_neighbors": hs.NearestNeighborsHead(k=[5]),
    "ridge": hs.RidgeHead(),
    "lda": hs.LDAHead(),
    "linear_sweep": hs.SweepHead(
        head=hs.LinearHead(epochs=2), over={"learning_rate": [0.001, 0.01]}
    ),
}


@pytest.mark.parametrize("alias", ESTIMATORS)
def test_defaults_are_params_yamls(alias: str) -> None:
    params = config.load_params(ROOT / "params.yaml")
    assert ESTIMATORS[alias]().model_dump() == params.heads[alias].model_dump()


def test_the_standard_zoo_is_params_yamls() -> None:
    zoo = config.load_params(ROOT / "params.yaml").zoo
    for name, entry in config.STANDARD_ZOO.items():
        assert config.Backbone.model_validate(entry) == zoo[name]


def test_a_typo_names_what_the_caller_wrote() -> None:
    with pytest.raises(hs.UserError) as told:
        hs.LinearHead(epoch=3)  # pyright: ignore[reportCallIssue]
    assert str(told.value) == "LinearHead: unknown setting 'epoch'; did you mean 'epochs'?"
    with pytest.raises(hs.UserError, match=r"^MLPHead: hidden.0: Input should be greater than 0"):
        hs.MLPHead(hidden=[0])
    with pytest.raises(hs.UserError, match=r"^LDAHead: shrinkages: .* at least 1 item"):
        hs.LDAHead(shrinkages=[])
    with pytest.raises(
        hs.UserError, match=r"^SweepHead: over: can't vary 'rate'; valid: average_snapshots, batch"
    ):
        hs.SweepHead(over={"rate": [1]})
    with pytest.raises(hs.UserError, match=r"^SweepHead: over: learning_rate can't be -1: Input"):
        hs.SweepHead(head=hs.MLPHead(), over={"learning_rate": [-1]})


@pytest.mark.parametrize("alias", QUICK)
def test_a_fit_is_the_train_head_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alias: str, train: ExtractedFeatures
) -> None:
    odd = np.arange(len(train)) % 2 == 1
    splits = {"train": train[~odd], "tune": train[odd]}
    for split, features in splits.items():
        with create_hdf5(tmp_path / "features" / f"{split}.h5") as file:
            file.create_dataset("features", data=features.values)
            write_examples(file, features.examples)
            write_json(file, "views", features.views)
            write_json(file, "provenance", features.provenance)
    estimator = QUICK[alias]
    described = yaml.safe_load(estimator.model_dump_json())
    arguments = (
        "--features",
        "features",
        "--head",
        alias,
        "--model",
        "model",
        "--results",
        "results",
    )
    run_stage(monkeypatch, tmp_path, "train_head", *arguments, heads={alias: described})
    expected = load_head(tmp_path / "model" / HEAD_FILE)

    fitted = estimator.fit(splits["train"], splits["tune"])
    assert fitted.head.classes == expected.classes
    found = fitted.head.model.tensors()
    for name, tensor in expected.model.tensors().items():
        np.testing.assert_array_equal(found[name], tensor)


def test_a_stratified_fifth_of_distinct_images_is_held_out(
    extractor: hs.Extractor, images: np.ndarray, labels: list[str]
) -> None:
    copies = extractor(np.concatenate([images, images[:10]]), [*labels, *labels[:10]])
    train, tune = hold_out(copies)
    assert len(train) + len(tune) == 50
    assert sorted(set(tune.examples.ids) | set(train.examples.ids)) == sorted(copies.examples.ids)
    assert not {d.tobytes() for d in train.digests} & {d.tobytes() for d in tune.digests}
    assert np.bincount(tune.examples.labels).tolist() == [4, 2, 2, 2]
    again, _ = hold_out(copies)
    assert again.examples.ids == train.examples.ids


def test_what_cannot_be_learned_from_is_said(
    extractor: hs.Extractor, train: ExtractedFeatures, images: np.ndarray
) -> None:
    head = hs.RidgeHead()
    with pytest.raises(hs.UserError, match=r"^train has no labels; give the extractor one"):
        head.fit(extractor(images[:4]))
    with pytest.raises(hs.UserError, match=r"^tune has no labels"):
        head.fit(train, extractor(images[:4]))
    with pytest.raises(hs.UserError, match=r"^the only class is 'a'"):
        head.fit(extractor(images[:4], list("aaaa")))
    with pytest.raises(hs.UserError, match=r"no class has two different images.*give `tune`"):
        head.fit(extractor(images[::10], list("abcd")))
    with pytest.raises(hs.UserError, match=r"there are images of 'e', and none of that class"):
        head.fit(train, extractor(images[:2], list("ee")))
    with pytest.raises(hs.UserError, match=r"train_views is 'all', but train shows whole images"):
        hs.RidgeHead(train_views="all").fit(train)
    with pytest.raises(hs.UserError, match=r"^train is a ndarray; give the features of an Extr"):
        head.fit(train.values)  # pyright: ignore[reportArgumentType]
    other = hs.Extractor("pixels", cache=None, device="cpu")
    with pytest.raises(hs.UserError, match=r"train and tune were extracted differently"):
        head.fit(train, other(images[::10], [train.examples.classes[i].id for i in range(4)]))


def test_augmented_views_are_learned_from(images: np.ndarray, labels: list[str]) -> None:
    extractor = hs.Extractor("pixels", cache=None, device="cpu")
    train = extractor(images, labels, augmented_views=2)
    fits = [hs.RidgeHead(train_views=views).fit(train) for views in ("whole", "all")]
    weights = [fit.head.model.tensors()["weight"] for fit in fits]
    assert np.abs(weights[0] - weights[1]).max() > 1e-4
