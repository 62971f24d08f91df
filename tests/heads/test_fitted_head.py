import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from headstart import config
from headstart.core.errors import UserError
from headstart.heads import fitted_head
from headstart.heads.fitted_head import FittedHead, Standardization, load_head, save_head
from headstart.heads.fitting import fit_head
from headstart.store.examples import ClassLabel
from tests.heads import blobs


@pytest.fixture(scope="module")
def trained() -> FittedHead:
    return fit_head(blobs.linear(), blobs.features(), blobs.features(40, split="tune")).head


def test_logits_are_the_affine_map_of_standardized_features(trained: FittedHead):
    features = blobs.features(7, views=3, split="val")
    logits = trained.logits(features)
    assert logits.shape == (7, 3, 4)
    assert logits.dtype == np.float32
    tensors = trained.model.tensors()
    x = (features.values[4, 2].astype(np.float64) - trained.standardization.mean) / (
        trained.standardization.std
    )
    np.testing.assert_allclose(
        logits[4, 2], tensors["weight"] @ x + tensors["bias"], rtol=1e-4, atol=1e-4
    )


def test_logits_dont_depend_on_the_block_size(trained: FittedHead, monkeypatch: pytest.MonkeyPatch):
    features = blobs.features(50, views=3, split="val")
    in_one = trained.logits(features)
    monkeypatch.setattr(fitted_head, "BLOCK_ROWS", 7)
    np.testing.assert_allclose(trained.logits(features), in_one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "recipe",
    [
        blobs.linear(),
        blobs.recipe("mlp", hidden=[8, 6], activation="tanh", dropout=0.0),
        blobs.recipe("nearest_neighbors", k=[5], temperature=[0.1]),
    ],
)
def test_a_file_brings_back_the_same_head_and_the_same_bytes(recipe: config.Head, tmp_path: Path):
    trained = fit_head(recipe, blobs.features(), blobs.features(40, split="tune")).head
    save_head(tmp_path / "model" / "head.safetensors", trained)
    loaded = load_head(tmp_path / "model" / "head.safetensors")
    features = blobs.features(20, split="val")
    np.testing.assert_array_equal(loaded.logits(features), trained.logits(features))
    assert loaded.classes == trained.classes
    assert loaded.provenance == trained.provenance
    assert loaded.passes == trained.passes
    save_head(tmp_path / "again.safetensors", loaded)
    again = (tmp_path / "again.safetensors").read_bytes()
    assert again == (tmp_path / "model" / "head.safetensors").read_bytes()
    assert [f.name for f in (tmp_path / "model").iterdir()] == ["head.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "abab"}, "weights: 0f0f then, abab now"),
        ({"mean": [0.5, 0.5, 0.5]}, r"mean: None then, \[0.5, 0.5, 0.5\] now"),
    ],
)
def test_another_backbones_features_are_refused(trained: FittedHead, change: dict, message: str):
    val = blobs.features(8, split="val")
    with pytest.raises(UserError, match=message):
        trained.logits(replace(val, provenance=val.provenance | change))


def test_another_width_is_refused(trained: FittedHead):
    with pytest.raises(UserError, match="width: 16 then, 17 now"):
        trained.logits(blobs.features(8, width=17, split="val"))


def test_other_classes_are_refused(trained: FittedHead):
    val = blobs.features(8, split="val")
    renamed = [ClassLabel("n9", "convertible"), *val.examples.classes[1:]]
    with pytest.raises(UserError, match="other classes"):
        trained.logits(replace(val, examples=replace(val.examples, classes=renamed)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(trained: FittedHead, value: float):
    val = blobs.features(8, views=2, split="val")
    val.values[5, 1, 3] = value
    with pytest.raises(UserError, match=r"'val/images/val_5\.JPEG' are NaN or infinite"):
        trained.logits(val)


def test_other_files_are_refused(tmp_path: Path):
    path = tmp_path / "head.safetensors"
    with pytest.raises(UserError, match="is missing; train the head that belongs there"):
        load_head(path)
    path.write_bytes(b"not a head")
    with pytest.raises(UserError, match="can't be read"):
        load_head(path)
    for about in ({}, {"kind": "affine"}, {"kind": "unknown", "passes": 3}):
        save_file({"weight": np.zeros(3, np.float32)}, path, {"head": json.dumps(about)})
        with pytest.raises(UserError, match="not a head of this version"):
            load_head(path)


def test_a_head_of_before_that_holds_a_temperature_is_refused(trained: FittedHead, tmp_path: Path):
    path = tmp_path / "head.safetensors"
    save_head(path, trained)
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["head"]) | {"temperature": 1.5}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"head": json.dumps(about)})
    with pytest.raises(UserError, match="not a head of this version"):
        load_head(path)


@pytest.mark.parametrize("rows", [5, 4096])
def test_standardization_is_numpys(rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fitted_head, "BLOCK_ROWS", rows)
    features = blobs.features(101, views=3, dtype=np.float32)
    features.values[:, :, 2] = 0.3  # constant, so it isn't scaled
    features.values[:, :, 3] *= 1e-4  # small, and not constant
    standardization = Standardization.from_features(features)
    flat = features.values.reshape(-1, 16).astype(np.float64)
    std = flat.std(axis=0)
    std[2] = 1
    np.testing.assert_allclose(standardization.mean, flat.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(standardization.std, std, rtol=1e-5)
