"""`headstart classify`: a new image gets the answer that `predict` gives for the same pixels."""

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
    cases.write_project(folder, **SECTIONS)
    of = cases.examples(len(SPLITS))
    noise = np.random.default_rng(0).integers(0, 120, (len(SPLITS), 24, 24, 3))
    pixels = (noise + of.labels[:, None, None, None] * 40).clip(0, 255).astype(np.uint8)
    with create_hdf5(folder / "data/images.h5") as file:
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
            features = ("--features", f"data/features/{backbone}")
            out = ("--model", f"data/models/{backbone}-linear")
            run("extract", "--images", "data/images.h5", *features, "--backbone", backbone)
            run("train_head", *features, *out, "--results", "results", "--head", "linear")
            run("predict", *features, *out, "--predictions", f"data/predictions/{backbone}-linear")
        for name, run_name, arguments in (
            (
                "finetune",
                "tiny-finetune",
                ["--backbone", "tiny", "--head", "data/models/tiny-linear"],
            ),
            ("train_scratch", "small", ["--network", "small"]),
        ):
            outs = [
                "--model",
                f"data/models/{run_name}",
                "--predictions",
                f"data/predictions/{run_name}",
                "--results",
                "results",
            ]
            run(name, "--images", "data/images.h5", *arguments, *outs)
        for kind in ("models", "predictions"):
            of_run = folder / "data" / kind
            shutil.copytree(of_run / "tiny-linear", of_run / "gone-linear")
        yield folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is started outside of the project."""
    monkeypatch.chdir(tmp_path)


def classify(folder: Path, run: str, new: str = "new", **sections: Any) -> list[dict[str, str]]:
    """The rows of the table that the project in `folder` makes of its folder `new`."""
    cases.write_project(folder, **{**SECTIONS, **sections})
    table = Path("table.tsv")
    cases.run_command(
        "classify", run, str(folder / new), "-o", str(table), "--project", str(folder)
    )
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


@pytest.mark.parametrize("run", RUNS)
def test_says_what_predict_says_of_the_same_pixels(trained: Path, run: str) -> None:
    rows = classify(trained, run)
    tune, val = (
        load_predictions(trained / f"data/predictions/{run}/{s}.h5") for s in ("tune", "val")
    )
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
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [first, *_] = classify(trained, "tiny-linear")
    with zipfile.ZipFile(trained / "more.zip", "w") as archive:
        archive.write(trained / "new/00.png", "a/same.png")
        archive.writestr("a/broken.jpg", b"none")
        archive.writestr("notes.txt", b"none")
        Image.new("RGB", (300, 200), "white").save(trained / "large.jpg")
        archive.write(trained / "large.jpg", "large.jpg")
    capsys.readouterr()
    broken, same, large, notes = classify(trained, "tiny-linear", "more.zip")
    assert (
        "classified images: 2; files without a class: 2, see the column `problem`"
        in capsys.readouterr().out
    )
    assert broken["file"] == "a/broken.jpg"
    assert broken["problem"].startswith("not an image of a known format")
    assert broken["class"] == broken["probability"] == broken["candidates"] == ""
    assert {**same, "file": ""} == {**first, "file": ""}
    assert large["class"]
    assert notes["file"] == "notes.txt"
    assert notes["problem"].startswith("its name doesn't end as an image's does")
    assert not notes["class"]


@pytest.mark.parametrize(
    ("run", "new", "changes", "said"),
    [
        ("tiny-liner", "new", {}, r"has no trained run 'tiny-liner'; did you mean 'tiny-linear'\?"),
        (
            "tiny-linear",
            "nowhere",
            {},
            r"FOLDER: .*nowhere doesn't exist; name your folder or \.zip",
        ),
        ("tiny-linear", "cache", {}, r"FOLDER: .*cache holds no images"),
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
    run: str,
    new: str,
    changes: dict[str, Any],
    said: str,
) -> None:
    with pytest.raises(SystemExit, match=said):
        classify(trained, run, new, **changes)
    assert not Path("table.tsv").exists()


def test_another_runs_predictions_are_refused(trained: Path) -> None:
    mixed = trained / "data/models/small2"
    shutil.copytree(trained / "data/models/small", mixed)
    shutil.copytree(trained / "data/predictions/tiny-linear", trained / "data/predictions/small2")
    with pytest.raises(
        SystemExit, match="the stored predictions are not this model's for these images"
    ):
        classify(trained, "small2")


def test_a_network_of_other_code(trained: Path) -> None:
    with safe_open(trained / "data/models/small/model.safetensors", "numpy") as file:
        metadata = file.metadata()
    (trained / "data/models/other").mkdir()
    path = trained / "data/models/other/model.safetensors"
    path.write_bytes(save({"weight": np.zeros(3)}, metadata))
    with pytest.raises(SystemExit, match=r"other/model\.safetensors was saved by other code"):
        classify(trained, "other")
    path.write_bytes(save({"weight": np.zeros(3)}))
    with pytest.raises(SystemExit, match="is not a model of this version"):
        classify(trained, "other")
    path.write_bytes(b"none")
    with pytest.raises(SystemExit, match=r"can't be read .*; delete it and run"):
        classify(trained, "other")


def test_a_run_by_its_folder_and_the_current_project(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = classify(trained, "tiny-linear")
    folder = trained / "data/models/tiny-linear"
    cases.run_command("classify", f"{folder}/", str(trained / "new"), "-o", "by_path.tsv")
    assert Path("by_path.tsv").read_bytes() == Path("table.tsv").read_bytes()

    monkeypatch.chdir(trained / "data")
    cases.run_command("classify", "tiny-linear", "../new", "--out", "../here.tsv")
    monkeypatch.chdir(trained)
    cases.run_command("classify", "data/models/tiny-linear", "new", "--out", "relative.tsv")
    assert (trained / "here.tsv").read_bytes() == (trained / "relative.tsv").read_bytes()
    assert len((trained / "here.tsv").read_text().splitlines()) == len(expected) + 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny-linear"], r"is not in a project .* name it with --project"),
        (["./tiny-linear"], r"\./tiny-linear is not the folder of a run; give a path …/data/mod"),
        (["data/models/x", "--project", "."], r"data/models/x is a path, which says its project"),
    ],
)
def test_a_run_that_belongs_to_no_project(trained: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        cases.run_command("classify", *arguments, str(trained / "new"), "-o", "table.tsv")
