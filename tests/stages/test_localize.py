"""localize as a user meets it: images with boxes in; metrics, boxes, curves and pictures out."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.store.examples import ClassLabel, Examples, write_examples
from headstart.store.localizations import LOCALIZER, TRUTH, load_boxes, load_pictures
from tests import cases

COUNTS = {"train": 160, "tune": 40, "val": 60}
SIDE = 16
CLASSES = [ClassLabel("one", "one square"), ClassLabel("two", "two squares")]
ZOO = {
    "plain": {"architecture": "pixels", "weights": "none"},
    "resnet": {"architecture": "resnet10t", "weights": "none", "input_size": 32},
}
QUICK = {
    **{"views": 2, "steps": 3, "channels": 8, "hidden": 48, "dropout": 0.0, "epochs": 30},
    **{"batch_size": 16, "learning_rate": 0.005, "device": "cpu"},
}


def draw_images(rng: np.random.Generator, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dark noise with a bright square in the left half, and for label 1 another in the right."""
    pixels = rng.integers(0, 60, (len(labels), SIDE, SIDE, 3)).astype(np.uint8)
    boxes = np.full((len(labels), 2, 4), np.nan, np.float32)
    for image, own, label in zip(pixels, boxes, labels, strict=True):
        for number in range(label + 1):
            side = rng.integers(4, 7)
            x = 8 * number + rng.integers(9 - side)
            y = rng.integers(SIDE + 1 - side)
            image[y : y + side, x : x + side] = 220
            own[number] = x, y, x + side, y + side
    return pixels, boxes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("localize")
    splits = np.repeat(list(COUNTS), list(COUNTS.values()))
    labels = np.arange(len(splits)) % 2
    pixels, boxes = draw_images(np.random.default_rng(0), labels)
    # One image of val has no box: it is no part of the task.
    boxes[-1] = np.nan
    of = Examples([f"{i}.png" for i in range(len(splits))], labels, CLASSES)
    with create_hdf5(folder / "images.h5") as file:
        file.create_dataset("pixels", data=pixels)
        file.create_dataset("digest", data=np.zeros((len(splits), 32), np.uint8))
        file.create_dataset("split", data=splits.astype("S5"))
        file.create_dataset("box", data=boxes)
        write_examples(file, of)
    for split in COUNTS:
        rows = np.flatnonzero(splits == split)
        with create_hdf5(folder / "features" / f"{split}.h5") as file:
            # Pooled: how bright each half is, and not where.
            values = pixels[rows].reshape(len(rows), SIDE, 2, 8, 3).mean((1, 3, 4))[:, None]
            file.create_dataset("features", data=values.astype(np.float32))
            write_json(file, "views", ["whole"])
            write_json(file, "provenance", {})
            write_examples(file, of[rows])
    return folder


def localize(
    monkeypatch: pytest.MonkeyPatch, folder: Path, backbone: str = "plain", **changed: Any
) -> dict[str, Any]:
    """The stage; returns its metrics."""
    paths = ("--images", "images.h5", "--features", "features", "--results", "results")
    cases.run_stage(
        monkeypatch,
        folder,
        "localize",
        *(*paths, "--backbone", backbone),
        zoo=ZOO,
        extract={"backbones": [*ZOO]},
        localize=QUICK | changed,
    )
    return json.loads((folder / "results/localization" / backbone / "metrics.json").read_text())


def test_finds_one_and_two_objects_and_beats_the_baselines(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    metrics = localize(monkeypatch, made)
    assert capsys.readouterr().out.startswith("plain: mean IoU on val of one square: 0.")
    one, two = (metrics["classes"][class_.id] for class_ in CLASSES)
    assert (one["train"], one["tune"], one["n"], one["objects"]) == (80, 20, 30, 30)
    assert (two["n"], two["objects"]) == (29, 58)
    for own in (one, two):
        assert own[LOCALIZER]["iou"] > 0.5
        assert own[LOCALIZER]["average_precision"] > 0.5
        for baseline in ("ridge", "mean_box"):
            low, high = own[baseline]["localizer_iou_gain_interval"]
            assert 0.1 < low < own[baseline]["localizer_iou_gain"] < high
    assert abs(two["emitted"] - 58) < 10
    mean = metrics["mean"]
    assert mean["n"] == 59
    assert mean[LOCALIZER]["iou"] == pytest.approx(
        (one[LOCALIZER]["iou"] + two[LOCALIZER]["iou"]) / 2, abs=1e-4
    )

    folder = made / "results" / "localization" / "plain"
    boxes = load_boxes(folder / "boxes.tsv")
    assert sum(row.source == TRUTH for row in boxes) == 30 + 58
    emitted = [row for row in boxes if row.source == LOCALIZER and row.emitted]
    assert len(emitted) == one["emitted"] + two["emitted"]
    assert all(0 <= edge <= SIDE for row in boxes for edge in row[3:7])
    pictures = load_pictures(folder / "pictures.h5")
    assert len(pictures) == 24
    assert pictures[0].pixels.shape == (SIDE, SIDE, 3)
    assert {picture.id for picture in pictures} <= {row.id for row in boxes}


def test_a_second_run_writes_the_same_bytes(made: Path, monkeypatch: pytest.MonkeyPatch):
    folder = made / "results" / "localization" / "plain"
    localize(monkeypatch, made, epochs=2)
    before = digests(folder)
    assert len(before) == 4
    localize(monkeypatch, made, epochs=2)
    assert digests(folder) == before
    localize(monkeypatch, made, epochs=2, seed=1)
    assert digests(folder) != before


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("backbone", ["plain", "resnet"])
def test_the_backbone_learns_too(made: Path, monkeypatch: pytest.MonkeyPatch, backbone: str):
    quick = {"frozen": False, "epochs": 1, "classes": ["two squares"], "batch_size": 64}
    metrics = localize(monkeypatch, made, backbone, **quick)
    assert list(metrics) == ["classes"]
    assert list(metrics["classes"]) == ["two"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": ["two sqares"]}, "localize.classes: no class 'two sqares'; did you mean"),
        ({"steps": 1}, "localize.steps: is 1, and an image has 2 boxes; raise it to 2"),
        (
            {"learning_rate": 1e30},
            "localize.learning_rate: in epoch 1 of one the boxes",
        ),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(
    made: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], message: str
):
    with pytest.raises(SystemExit, match=rf"^error: {message}"):
        localize(monkeypatch, made, **changed)


def test_a_class_without_boxes_is_named(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(made / "features", tmp_path / "features")
    shutil.copy(made / "images.h5", tmp_path)
    with h5py.File(tmp_path / "images.h5", "r+") as file:
        boxes = file["box"][:]  # type: ignore
        boxes[file["label"][:] == 1] = np.nan  # type: ignore
        file["box"][:] = boxes  # type: ignore
    with pytest.raises(SystemExit) as caught:
        localize(monkeypatch, tmp_path)
    told = str(caught.value)
    assert "localize.classes: train has 0 images of 'two squares' with a box, and 2 is" in told
    assert "one square'" not in told
