"""The results of made-up runs, as the other stages would write them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from headstart.core.hdf5_files import create_hdf5
from headstart.store.audit_findings import Finding, write_findings
from headstart.store.embeddings import Embedding, write_embedding
from headstart.store.examples import ClassLabel, Examples, write_examples
from headstart.store.learning_curves import LearningCurvePoint, write_learning_curve
from headstart.store.nearest_images import NearestImages, write_nearest_images
from headstart.store.predictions import Predictions, save_predictions
from headstart.store.training_curves import Epoch, write_training_curve
from headstart.store.views import TEN_CROP
from tests import cases

PARAMS = {
    "extract": {"backbones": ["random", "resnet50"]},
    "train_head": {"heads": ["linear"]},
    "learning_curve": {"heads": ["lda"]},
    "evaluate": {"resamples": 100},
}


def make_results(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    val: int = 60,
    train: int = 24,
    names: Sequence[str] = cases.NAMES,
    file_name: str = "{split}/{i}.png",
    backbones: Sequence[str] = ("random", "resnet50"),
    always_wrong: int | None = None,
    views: int = 1,
    test: bool = False,
    side: int = 16,
) -> None:
    """images.h5 and results/ in `folder`, of a run `<backbone>-linear` for each of `backbones`.

    val, train: numbers of images, of one color per class. always_wrong: the position of a class
    that no run ever predicts. test: whether there is a labeled test split.
    """
    classes = [ClassLabel(f"n{c:04d}", name) for c, name in enumerate(names)]
    counts = {"train": train, "tune": max(val // 2, 2), "val": val, "test": 10 if test else 0}
    splits = {
        split: Examples(
            [file_name.format(split=split, i=i) for i in range(count)],
            np.arange(count) % len(classes),
            classes,
        )
        for split, count in counts.items()
    }
    write_images(folder / "data" / "images.h5", splits, side)
    rng = np.random.default_rng(0)
    for skill, backbone in enumerate(backbones, start=1):
        run, held = f"{backbone}-linear", splits["val"]
        for split in ("tune", "val", "test"):
            if not len(splits[split]):
                continue
            labels = splits[split].labels
            logits = rng.normal(size=(len(labels), 1, len(classes)))
            logits = logits + 0.1 * rng.normal(size=(len(labels), views, len(classes)))
            logits[np.arange(len(labels)), :, labels] += skill
            if always_wrong is not None:
                logits[:, :, always_wrong] -= 20
            names_of_views = [view.name for view in TEN_CROP[:views]]
            predictions = Predictions(
                logits.astype(np.float32), names_of_views, splits[split], 100 * skill, 30
            )
            save_predictions(folder / "predictions" / run / f"{split}.h5", predictions)
        paths = ("--predictions", f"predictions/{run}", "--results", "results")
        cases.run_stage(monkeypatch, folder, "evaluate", *paths, **PARAMS)
        results = folder / "results"
        curve = [Epoch(epoch, 1 / epoch, 0.5, 1.1 / epoch, 0.5) for epoch in (1, 2, 3)]
        write_training_curve(results / "training" / f"{run}.tsv", curve)
        labels_of_points = [classes[label] for label in held.labels]
        points = Embedding(held.ids, labels_of_points, rng.normal(size=(val, 2)))
        write_embedding(results / "tsne" / f"{backbone}.tsv", points)
        order = rng.permuted(np.tile(np.arange(train), (val, 1)), axis=1)[:, :5]
        nearest = np.array(splits["train"].ids)[order]
        similar = NearestImages(held.ids, nearest, np.linspace(0.9, 0.5, 5)[None].repeat(val, 0))
        write_nearest_images(results / "neighbors" / f"{backbone}-train.tsv", similar)
        write_findings(results / "audit" / f"{backbone}-findings.tsv", findings(splits))
        learning = [LearningCurvePoint(n, 4 * n, 3, 0.5, 0.4, 0.6, 0.45, 0.55) for n in (1, 2, 5)]
        write_learning_curve(results / "learning_curves" / f"{backbone}-lda.tsv", learning)


def findings(splits: dict[str, Examples]) -> list[Finding]:
    """A pair of near-duplicates across splits, a wrong label, and two classes that are alike."""
    train, val = splits["train"], splits["val"]
    first, second = (train.classes[label].id for label in (0, 1))
    return [
        Finding(val.ids[0], "val", first, "near_duplicate", 0.98, train.ids[-1], "train", second),
        Finding(val.ids[-1], "val", second, "wrong_label", 0.9, first),
        Finding("", "", first, "classes_alike", 0.4, second),
    ]


def write_images(path: Path, splits: dict[str, Examples], side: int) -> None:
    """images.h5 with one color per class and a stripe that tells images apart."""
    classes = next(iter(splits.values())).classes
    ids = [id_ for of in splits.values() for id_ in of.ids]
    labels = np.concatenate([of.labels for of in splits.values()])
    of_split = [split for split, of in splits.items() for _ in of.ids]
    colors = np.random.default_rng(1).integers(40, 216, (len(classes), 3))
    pixels = np.empty((len(ids), side, side, 3), np.uint8)
    pixels[:] = colors[labels][:, None, None]
    pixels[np.arange(len(ids)), np.arange(len(ids)) % side] = 255
    with create_hdf5(path) as file:
        file.create_dataset("pixels", data=pixels)
        file.create_dataset("digest", data=np.zeros((len(ids), 32), np.uint8))
        file.create_dataset("split", data=np.array(of_split, "S5"))
        file.create_dataset("box", data=np.full((len(ids), 4), np.nan, np.float32))
        write_examples(file, Examples(ids, labels, classes))


def make_page(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    backbones: Sequence[str] = ("random", "resnet50"),
    max_images: int = 10_000,
) -> Path:
    """`python -m stages.report` in `folder`; the path of the page."""
    paths = (
        *("--results", "results", "--images", "data/images.h5"),
        *("--attribution", "data/attribution", "--page", "report/index.html"),
    )
    active = PARAMS | {
        "extract": {"backbones": list(backbones)},
        "report": {"max_images": max_images, "attribution": False},
    }
    cases.run_stage(monkeypatch, folder, "report", *paths, **active)
    return folder / "report" / "index.html"
