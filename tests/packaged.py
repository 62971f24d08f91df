"""A small project in which every kind of run is trained, evaluated and packaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.core.hdf5_files import create_hdf5
from headstart.data.resizing import pixel_digest
from headstart.store.examples import write_examples
from tests import cases

SPLITS = ["train"] * 32 + ["tune"] * 24 + ["val"] * 16
SIDE = 40
RECIPE = {
    "epochs": 2,
    "batch_size": 16,
    "optimizer": {"name": "adam", "learning_rate": 0.003},
    "schedule": {"name": "exponential", "factor": 0.9},
}
TINY = {"architecture": "resnet10t", "weights": "none", "input_size": 32}
HEADS = ("linear", "mlp", "nearest_neighbors", "lda", "linear_sweep")
SWEEP_HEAD = {
    "kind": "linear",
    "learning_rate": 0.001,
    "learning_rate_decay": 0.8,
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "epochs": 2,
    "batch_size": 16,
}
SECTIONS: dict[str, Any] = {
    "zoo": {
        "tiny": TINY,
        "again": {**TINY, "seed": 1, "layers": ["layer3", "layer4"]},
        "both": {"concatenate": ["again", "tiny"]},
    },
    "extract": {"backbones": ["tiny", "both"], "batch_size": 8, "device": "cpu", "ten_crop": True},
    "heads": {
        "linear_sweep": {
            "kind": "sweep",
            "head": SWEEP_HEAD,
            "over": {"learning_rate": [0.001, 0.01]},
        }
    },
    "train_head": {"heads": list(HEADS)},
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
    "train_scratch": {"networks": ["small"], "device": "cpu"},
    "finetune": {"backbones": ["tiny"], "device": "cpu"},
    "ensembles": {"team": {"members": ["tiny-lda", "small", "tiny-finetune"]}},
    "ensemble": {"ensembles": ["team"]},
    "evaluate": {"resamples": 100},
}
HEAD_RUNS = [f"{backbone}-{head}" for backbone in ("tiny", "both") for head in HEADS]
RUNS = [*(f"tiny-{head}" for head in HEADS), "both-lda", "tiny-finetune", "small", "team"]
"""One run of each kind."""


def make_project(folder: Path) -> None:
    """The project in `folder`, with everything of every run; `new` holds its val images as PNG."""
    cases.write_project(folder, **SECTIONS)
    examples = cases.examples(len(SPLITS))
    noise = np.random.default_rng(0).integers(0, 120, (len(SPLITS), SIDE, SIDE, 3))
    pixels = (noise + examples.labels[:, None, None, None] * 40).clip(0, 255).astype(np.uint8)
    with create_hdf5(folder / "data/images.h5") as file:
        file["pixels"] = pixels
        file["digest"] = np.array(
            [np.frombuffer(pixel_digest(image), np.uint8) for image in pixels]
        )
        file["split"] = np.array(SPLITS, "S5")
        file["box"] = np.full((len(SPLITS), 4), np.nan, np.float32)
        write_examples(file, examples)
    (folder / "new").mkdir()
    for number, image in enumerate(pixels[SPLITS.index("val") :]):
        Image.fromarray(image).save(folder / f"new/{number:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder / "cache"))
        _run_stages(folder, patch)


def _run_stages(folder: Path, patch: pytest.MonkeyPatch) -> None:
    def run(name: str, *arguments: str) -> None:
        cases.run_stage(patch, folder, name, *arguments, **SECTIONS)

    images, results = ("--images", "data/images.h5"), ("--results", "results")
    for backbone in ("tiny", "both"):
        features = ("--features", f"data/features/{backbone}")
        run("extract", *images, *features, *results, "--backbone", backbone)
        for head in HEADS:
            model = ("--model", f"data/trained/{backbone}-{head}")
            run("train_head", *features, *model, *results, "--head", head)
            run("predict", *features, *model, *_predictions(f"{backbone}-{head}"))
    for name, run_name, arguments in (
        ("finetune", "tiny-finetune", ("--backbone", "tiny", "--head", "data/trained/tiny-linear")),
        ("train_scratch", "small", ("--network", "small")),
    ):
        model = ("--model", f"data/trained/{run_name}")
        run(name, *images, *arguments, *model, *_predictions(run_name), *results)
    ensemble = ("--ensemble", "data/ensembles/team", "--name", "team")
    run("ensemble", "--predictions", "data/predictions", *ensemble, *results)
    for run_name in (*HEAD_RUNS, "tiny-finetune", "small"):
        run("evaluate", *_predictions(run_name), *results)
    run("evaluate", "--predictions", "data/ensembles/team", *results)
    package(folder, patch)


def package(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Runs the stage that packages all runs of the project in `folder`."""
    paths = {
        "images": "data/images.h5",
        "trained": "data/trained",
        "results": "results",
        "models": "data/models",
    }
    arguments = [part for key, path in paths.items() for part in (f"--{key}", path)]
    cases.run_stage(patch, folder, "package", *arguments, **SECTIONS)


def _predictions(run: str) -> tuple[str, str]:
    return "--predictions", f"data/predictions/{run}"
