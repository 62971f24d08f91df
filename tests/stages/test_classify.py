"""New images through trained runs, as a user calls it: what `predict` says of the same pixels."""

import csv
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save
from scipy.special import softmax

from headstart.core.hdf5_files import create_hdf5
from headstart.data.resizing import pixel_digest
from headstart.metrics.calibration import conformal_threshold, fit_temperature
from headstart.store.examples import write_examples
from headstart.store.predictions import load_predictions
from tests import cases

SPLITS = ["train"] * 32 + ["tune"] * 24 + ["val"] * 16
RECIPE = {
    "epochs": 2,
    "batch_size": 16,
    "optimizer": {"name": "adam", "learning_rate": 0.003},
    "schedule": {"name": "exponential", "factor": 0.9},
}
TINY = {"architecture": "resnet10t", "weights": "none", "input_size": 32}
SECTIONS: dict[str, Any] = {
    "zoo": {
        "tiny": TINY,
        "again": {**TINY, "seed": 1},
        "both": {"concatenate": ["again", "tiny"]},
    },
    "extract": {"backbones": ["tiny", "both"], "batch_size": 8, "device": "cpu"},
    "recipes": {"short": RECIPE, "finetune": RECIPE},
    "networks": {
        "small": {
            "network": "modified_resnet10",
            "recipe": "short",
            "input_size": 32,
            "crop": 0.8,
            "arguments": {"filters": [8, 8, 8, 16]},
        }
    },
}
RUNS = ["tiny-linear", "both-linear", "tiny-finetune", "small"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with every kind of run; `new` holds its val images as PNG files."""
    folder = tmp_path_factory.mktemp("project")
    of = cases.examples(len(SPLITS))
    noise = np.random.default_rng(0).integers(0, 120, (len(SPLITS), 24, 24, 3))
    pixels = (noise + of.labels[:, None, None, None] * 40).clip(0, 255).astype(np.uint8)
    with create_hdf5(folder / "images.h5") as file:
        file["pixels"] = pixels
        file["digest"] = np.array(
            [np.frombuffer(pixel_digest(image), np.uint8) for image in pixels]
        )
        file["split"] = np.array(SPLITS, "S5")
        file["box"] = np.full((len(SPLITS), 4), np.nan, np.float32)
        write_examples(file, of)
    (folder / "new").mkdir()
    for number, image in enumerate(pixels[SPLITS.index("val") :]):
        Image.fromarray(image).save(folder / f"new/{number:02d}.png")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder / "cache"))

        def run(name: str, *arguments: str) -> None:
            cases.run_stage(patch, folder, name, *arguments, **SECTIONS)

        for backbone in ("tiny", "both"):
            features = ("--features", f"features/{backbone}")
            out = ("--model", f"models/{backbone}-linear")
            run("extract", "--images", "images.h5", *features, "--backbone", backbone)
            run("train_head", *features, *out, "--head", "linear")
            run("predict", *features, *out, "--predictions", f"predictions/{backbone}-linear")
        for name, run_name, arguments in (
            ("finetune", "tiny-finetune", ["--backbone", "tiny", "--head", "models/tiny-linear"]),
            ("train_scratch", "small", ["--network", "small"]),
        ):
            outs = ["--model", f"models/{run_name}", "--predictions", f"predictions/{run_name}"]
            run(name, "--images", "images.h5", *arguments, *outs)
        shutil.copytree(folder / "models/tiny-linear", folder / "models/gone-linear")
        yield folder


def classify(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    run: str,
    new: str = "new",
    of: str | None = None,
    **sections: Any,
) -> list[dict[str, str]]:
    """The rows of the table. of: the run whose predictions are given, if not `run`."""
    arguments = ("--images", "images.h5", "--new", new, "--table", "table.tsv")
    own = ("--model", f"models/{run}", "--predictions", f"predictions/{of or run}")
    cases.run_stage(monkeypatch, folder, "classify", *arguments, *own, **{**SECTIONS, **sections})
    with (folder / "table.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


@pytest.mark.parametrize("run", RUNS)
def test_says_what_predict_says_of_the_same_pixels(
    trained: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    rows = classify(monkeypatch, trained, run)
    tune, val = (load_predictions(trained / f"predictions/{run}/{s}.h5") for s in ("tune", "val"))
    on_tune, on_val = (softmax(found.logits[:, 0].astype(float), axis=1) for found in (tune, val))
    temperature = fit_temperature(on_tune, tune.examples.labels)
    scaled = softmax(np.log(on_val) / temperature, axis=1)
    threshold = conformal_threshold(on_tune, tune.examples.labels, 0.9)

    assert [row["file"] for row in rows] == [f"{number:02d}.png" for number in range(16)]
    ids = [label.id for label in val.examples.classes]
    names = [label.name for label in val.examples.classes]
    for row, sure, raw in zip(rows, scaled, on_val, strict=True):
        label = ids.index(row["class"])
        assert row["name"] == names[label]
        # A network end to end computes in bfloat16 where the hardware has it.
        assert float(row["probability"]) == pytest.approx(sure.max(), abs=0.01)
        assert sure[label] == pytest.approx(sure.max(), abs=0.01)
        held = row["candidates"].split("; ")
        assert held[0] == row["class"]
        clear = np.abs(raw - threshold) > 0.01
        assert [raw[i] >= threshold or ids[i] == held[0] for i in np.flatnonzero(clear)] == [
            ids[i] in held for i in np.flatnonzero(clear)
        ]


def test_a_zip_with_larger_and_with_damaged_images(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [first, *_] = classify(monkeypatch, trained, "tiny-linear")
    with zipfile.ZipFile(trained / "more.zip", "w") as archive:
        archive.write(trained / "new/00.png", "a/same.png")
        archive.writestr("a/broken.jpg", b"none")
        archive.writestr("notes.txt", b"none")
        Image.new("RGB", (300, 200), "white").save(trained / "large.jpg")
        archive.write(trained / "large.jpg", "large.jpg")
    capsys.readouterr()
    broken, same, large = classify(monkeypatch, trained, "tiny-linear", "more.zip")
    assert "2 images classified, 1 can't be read" in capsys.readouterr().out
    assert broken["file"] == "a/broken.jpg"
    assert broken["problem"].startswith("not an image of a known format")
    assert broken["class"] == broken["probability"] == broken["candidates"] == ""
    assert {**same, "file": ""} == {**first, "file": ""}
    assert large["class"]


@pytest.mark.parametrize(
    ("run", "new", "changes", "said"),
    [
        ("tiny-liner", "new", {}, r"models/tiny-liner holds no trained model.*tiny-linear"),
        ("tiny-linear", "nowhere", {}, r"--new: nowhere doesn't exist; name your folder or \.zip"),
        ("tiny-linear", "cache", {}, "--new: cache holds no images"),
        (
            "tiny-linear",
            "new",
            {"zoo": {**SECTIONS["zoo"], "tiny": {**TINY, "seed": 7}}},
            r"the head was trained on other features \(weights: .*train it again",
        ),
        (
            "gone-linear",
            "new",
            {},
            "zoo has no 'gone': the model's folder has to be named <alias>-<head>",
        ),
    ],
)
def test_what_a_user_can_put_right(
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: str,
    new: str,
    changes: dict[str, Any],
    said: str,
) -> None:
    (trained / "table.tsv").unlink(missing_ok=True)
    with pytest.raises(SystemExit, match=said):
        classify(monkeypatch, trained, run, new, **changes)
    assert not (trained / "table.tsv").exists()


def test_another_runs_predictions_are_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="the predictions are not this model's of these images"):
        classify(monkeypatch, trained, "tiny-linear", of="small")


def test_a_network_of_other_code(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with safe_open(trained / "models/small/model.safetensors", "numpy") as file:
        metadata = file.metadata()
    (trained / "models/other").mkdir()
    path = trained / "models/other/model.safetensors"
    path.write_bytes(save({"weight": np.zeros(3)}, metadata))
    with pytest.raises(SystemExit, match=r"other/model\.safetensors was saved by other code"):
        classify(monkeypatch, trained, "other")
    path.write_bytes(save({"weight": np.zeros(3)}))
    with pytest.raises(SystemExit, match="is not a model of this version"):
        classify(monkeypatch, trained, "other")
    path.write_bytes(b"none")
    with pytest.raises(SystemExit, match=r"can't be read .*; delete it and run"):
        classify(monkeypatch, trained, "other")
