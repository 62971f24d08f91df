"""train_scratch as a user meets it: images.h5 in, a model and predictions out."""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from headstart import config
from headstart.backbones.loading import load_backbone
from headstart.core.hdf5_files import create_hdf5, get_dataset
from headstart.store.examples import UNLABELED, write_examples
from headstart.store.filters import load_filters
from headstart.store.output_statistics import load_output_statistics
from headstart.store.predictions import load_predictions
from headstart.store.training_curves import load_training_curve
from headstart.training.network_evaluation import Evaluation
from tests import cases

SPLITS = ["train"] * 32 + ["tune"] * 16 + ["val"] * 12 + ["test"] * 4
PATHS = (
    *("--images", "images.h5", "--model", "model"),
    *("--predictions", "predictions", "--results", "results"),
)
RECIPE = {
    "epochs": 2,
    "batch_size": 16,
    "optimizer": {"name": "adam", "learning_rate": 0.003},
    "schedule": {"name": "exponential", "factor": 0.9},
}
NETWORK = {
    "network": "modified_resnet10",
    "recipe": "short",
    "input_size": 32,
    "crop": 0.8,
    "arguments": {"filters": [8, 8, 8, 16]},
    "normalization": "mean",
    "recorded_outputs": ["features.4", "classifier"],
}
CHANGES = {"recipes": {"short": RECIPE}, "networks": {"small": NETWORK}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    of = cases.examples(len(SPLITS))
    of.labels[-4:] = UNLABELED
    noise = np.random.default_rng(0).integers(0, 90, (len(SPLITS), 48, 48, 3))
    pixels = (noise + of.labels[:, None, None, None] * 50).clip(0, 255).astype(np.uint8)
    with create_hdf5(tmp_path / "images.h5") as file:
        file.create_dataset("pixels", data=pixels)
        file.create_dataset("digest", data=np.zeros((len(SPLITS), 32), np.uint8))
        file.create_dataset("split", data=np.array(SPLITS, "S5"))
        file.create_dataset("box", data=np.full((len(SPLITS), 4), np.nan, np.float32))
        write_examples(file, of)
    return tmp_path


def test_writes_model_curve_and_predictions(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cases.run_stage(monkeypatch, folder, "train_scratch", *PATHS, "--network", "small", **CHANGES)
    assert re.fullmatch(
        r"small: top-1 \d+\.\d% on tune, the best, after epoch [12]\n", capsys.readouterr().out
    )
    written = sorted(path.name for path in (folder / "model").iterdir())
    assert written[0] == "model.safetensors"
    curve = (folder / "results" / "training" / "small.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in curve] == ["epoch", "1", "2"]
    with safe_open(folder / "model" / "model.safetensors", "np") as file:
        about = json.loads(file.metadata()["network"])
    assert about["scratch"]["network"] == "modified_resnet10"
    assert about["input"]["size"] == 32
    assert about["input"]["std"] == [1, 1, 1]
    assert np.array_equal(
        load_filters(folder / "results" / "filters" / "runs" / "small.npy"),
        load_file(folder / "model" / "model.safetensors")["features.0.0.weight"],
    )
    recorded = load_output_statistics(folder / "results" / "outputs" / "small.tsv")
    assert [(row.step, row.module) for row in recorded] == [
        (step, module) for step in range(2 * 2) for module in ("features.4", "classifier")
    ]
    assert about["classes"][3][1] == "Egyptian cat"
    for split in ("tune", "val", "test"):
        of = load_predictions(folder / "predictions" / f"{split}.h5")
        assert of.logits.shape == (SPLITS.count(split), 1, 4)
        assert np.isfinite(of.logits).all()
        assert of.parameters == sum(
            tensor.size
            for name, tensor in load_file(folder / "model" / "model.safetensors").items()
            if "running" not in name and "num_batches" not in name
        )
        assert of.views == ["whole"]
        assert of.examples.labeled == (split != "test")
    snapshots = sorted((folder / "predictions").glob("snapshot_*"))
    assert [path.name for path in snapshots] == [
        path.stem for path in sorted((folder / "model").glob("snapshot_*"))
    ]
    last, kept = (
        load_predictions(path / "val.h5") for path in (snapshots[-1], snapshots[0].parent)
    )
    assert np.array_equal(last.logits, kept.logits)


def test_what_was_trained_is_written_again_and_only_what_is_damaged_trained_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def outputs() -> dict[str, bytes]:
        cases.run_stage(
            monkeypatch, folder, "train_scratch", *PATHS, "--network", "small", **CHANGES
        )
        found = [*(folder / "model").rglob("*.*"), *(folder / "predictions").rglob("*.*")]
        return {path.name: path.read_bytes() for path in found}

    def no_step(*_: object) -> None:
        raise AssertionError("it trains again")

    first = outputs()
    newest = max((folder / "cache").rglob("checkpoint_*.pt"))
    newest.write_bytes(newest.read_bytes()[:1000])
    assert outputs() == first
    monkeypatch.setattr("headstart.training.training_loop.train_step", no_step)
    assert outputs() == first


def test_a_change_of_snapshots_gives_what_a_first_run_gives(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def outputs(cache: str, most: int) -> dict[str, bytes]:
        top1 = iter([0.1, 0.3, 0.5, 0.4])
        monkeypatch.setattr(
            "headstart.training.training_loop.evaluate_network",
            lambda *_: Evaluation(1.0, next(top1)),
        )
        monkeypatch.setenv("HEADSTART_CACHE", str(folder / cache))
        for made in ("model", "predictions"):
            shutil.rmtree(folder / made, ignore_errors=True)
        changes = {
            **CHANGES,
            "recipes": {"short": RECIPE | {"epochs": 4}},
            "train_scratch": {"snapshots": most},
        }
        cases.run_stage(
            monkeypatch, folder, "train_scratch", *PATHS, "--network", "small", **changes
        )
        found = [*(folder / "model").rglob("*.*"), *(folder / "predictions").rglob("*.*")]
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    many = outputs("cache", 20)
    assert capsys.readouterr().out == "small: top-1 50.0% on tune, the best, after epoch 3\n"
    assert "model/snapshot_02.safetensors" in many
    fewer = outputs("cache", 2)
    assert fewer == outputs("empty", 2)
    assert fewer["predictions/val.h5"] == many["predictions/val.h5"]
    assert outputs("cache", 20) == many


def test_a_trunk_is_kept_in_the_first_phase_and_learns_in_the_second(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    lstm = {
        "network": "resnet_lstm",
        "trunk": "untrained",
        "first_recipe": "first",
        "recipe": "short",
        "input_size": 32,
        "arguments": {"side": 32},
        "recorded_outputs": ["lstms.0"],
    }
    changes = {
        "zoo": {"untrained": {"architecture": "resnet18", "weights": "none"}},
        "recipes": {"first": RECIPE | {"epochs": 1}, "short": RECIPE},
        "networks": {"small": lstm},
        "train_scratch": {"snapshots": 1},
    }
    cases.run_stage(monkeypatch, folder, "train_scratch", *PATHS, "--network", "small", **changes)
    [kept] = (folder / "cache").rglob("first/snapshot_*.safetensors")
    first, second = load_file(kept), load_file(folder / "model" / "model.safetensors")
    start = load_backbone(config.Backbone(architecture="resnet18", weights="none"))
    for key, value in start.network.state_dict().items():
        assert np.array_equal(first[f"trunk.{key}"], value.numpy()), key
    assert not np.array_equal(second["trunk.conv1.weight"], first["trunk.conv1.weight"])
    curve = load_training_curve(folder / "results" / "training" / "small.tsv")
    assert [(epoch.epoch, epoch.phase) for epoch in curve] == [(1, 1), (2, 2), (3, 2)]
    recorded = load_output_statistics(folder / "results" / "outputs" / "small.tsv")
    assert [row.step for row in recorded] == list(range(2 + 2 * 2))
    spent = load_predictions(folder / "predictions" / "val.h5").passes
    assert spent == (1 + 2) * (3 * 32 + 16)


def test_classes_without_training_images_are_said(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with h5py.File(folder / "images.h5", "r+") as file:
        labels = get_dataset(file, "label")
        labels[:] = np.minimum(labels[:], 2)
    with pytest.raises(
        SystemExit, match=r"^error: 1 classes have no training images: Egyptian cat"
    ):
        cases.run_stage(
            monkeypatch, folder, "train_scratch", *PATHS, "--network", "small", **CHANGES
        )


def test_a_batch_that_does_not_fit_the_memory_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("headstart.core.devices.machine_memory", lambda: 10**6)
    with pytest.raises(SystemExit, match=r"the recipe's batch_size: 16 images at once .* in small"):
        cases.run_stage(
            monkeypatch, folder, "train_scratch", *PATHS, "--network", "small", **CHANGES
        )
    assert not (folder / "model").exists()
