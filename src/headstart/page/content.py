"""Everything that the page shows, from the results of the active runs and the stored images."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headstart.core.errors import UserError
from headstart.metrics.paired_tests import AccuracyDifference
from headstart.metrics.selection import CRITERIA
from headstart.page import sections
from headstart.page.audit import audit
from headstart.page.class_order import order_classes
from headstart.page.embedding import pack_integers
from headstart.page.image_table import ImageTable
from headstart.page.thumbnails import (
    Sheet,
    encode_sheets,
    lay_out_sheets,
    thumbnail_side,
)
from headstart.report.comparison import Results, best_run
from headstart.store.examples import SPLITS
from headstart.store.images import Images
from headstart.store.top_classes import TopClasses, load_top_classes

VAL_PIXELS, VAL_SIDE = 10_000 * 64**2, 192
OTHER_PIXELS, OTHER_SIDE = 10_000 * 32**2, 96
"""How many px all thumbnails of val, and all others, have at most, and the greatest side of one.

10,000 images of val at 64 px take about 14 MB of the page, as many others at 32 px 4 MB."""


class ActiveRuns(NamedTuple):
    """Names of what params.yaml activates. single: the runs that are no ensembles."""

    runs: list[str]
    single: list[str]
    backbones: list[str]
    learning_curves: list[str]


class PageContent(NamedTuple):
    """data: plain JSON. sheets: JPEG files, those that data["sheets"] describes, in that order."""

    data: dict[str, Any]
    sheets: Iterator[bytes]


def load_predictions(results: Path, runs: list[str]) -> dict[str, TopClasses]:
    """The likeliest classes of each image of val by each of `runs`, all in one order.

    Raises:
        UserError: a table is missing, or the runs were evaluated on different images.
    """
    loaded = {run: load_top_classes(results / "top_classes" / f"{run}.tsv") for run in runs}
    first = loaded[runs[0]]
    for run, top in loaded.items():
        if top.ids != first.ids:
            raise UserError(f"runs {runs[0]} and {run} saw different val images; run `dvc repro`")
    return loaded


def correct_predictions(predictions: Mapping[str, TopClasses]) -> dict[str, np.ndarray]:
    """Whether each run is right about each image of val: [N] bool."""
    return {run: top.classes[:, 0] == np.array(top.labels) for run, top in predictions.items()}


def collect(
    images: Images,
    results: Path,
    attributions: Path,
    active: ActiveRuns,
    metrics: Results,
    predictions: Mapping[str, TopClasses],
    differences: list[AccuracyDifference],
    conclusions: list[str],
    confidence: float,
    choose_by: str,
    max_images: int,
    dataset: str,
) -> PageContent:
    """Reads all tables of the active runs and decides which images the page holds.

    attributions: the folder of `<run>.h5` for each run, if they were asked for.
    metrics, predictions: of each run. differences: of all pairs. conclusions: sentences.
    confidence: of the intervals. choose_by: what tune chooses by. max_images: how many images of
    val, and how many others, the page holds at most. dataset: its name.

    Raises:
        UserError: a table is missing, or it belongs to other images.
    """
    classes = images.examples.classes
    position = {label.id: i for i, label in enumerate(classes)}
    first = next(iter(predictions.values()))
    stored = {images.examples.ids[row] for row in images.rows("val")}
    if stored != set(first.ids) or not set(first.labels) <= position.keys():
        raise UserError("the results are not of these images; run `dvc repro`")
    table = ImageTable.sample_val(images, first.ids, max_images)
    labels = np.array([position[label] for label in first.labels])
    chosen = best_run(metrics, choose_by)

    runs = []
    order: list[int] = []
    for run in active.runs:
        top = _positions(predictions[run].classes, position)
        probabilities = predictions[run].probabilities
        if run == chosen:
            order = order_classes(labels, top, probabilities, len(classes))
        shown = table.val_positions
        runs.append(
            {
                "name": run,
                "metrics": metrics[run],
                "top": sections.predictions(top[shown], probabilities[shown]),
                "perClass": sections.per_class(labels, top[:, 0], len(classes), confidence),
                "attribution": sections.attribution(attributions / f"{run}.h5", table),
                **sections.curves(results, run, run in active.single, confidence),
            }
        )
    maps = [sections.feature_map(results, backbone, table) for backbone in active.backbones]
    nearest = sections.nearest(results, active.backbones, table)
    correct = correct_predictions(predictions)
    audited = audit(results, active.backbones, first.ids, correct, confidence, position, table)
    codes = {split: code for code, split in enumerate(SPLITS)}
    ids, image_labels, image_splits = table.describe(codes)
    sheets = _lay_out(table)
    data = {
        "dataset": dataset,
        "confidence": confidence,
        "classes": [{"id": label.id, "name": label.name} for label in classes],
        "classOrder": order,
        "splits": {split: len(images.rows(split)) for split in SPLITS},
        "chosen": chosen,
        "chosenBy": CRITERIA[choose_by]._asdict(),
        "conclusions": conclusions,
        "images": {
            "val": table.val_count,
            "ids": ids,
            "labels": pack_integers(image_labels),
            "splits": pack_integers(image_splits),
        },
        "sheets": [sheet._asdict() for sheet in sheets],
        "runs": runs,
        "pairs": sections.pairs(differences, correct),
        "maps": maps,
        "nearest": nearest,
        "audit": audited,
        "learningCurves": sections.learning_curves(results, active.learning_curves),
    }
    return PageContent(data, encode_sheets(images.pixels, table.rows, sheets))


def _positions(names: np.ndarray, position: Mapping[str, int]) -> np.ndarray:
    """The positions [N, K] of the classes whose ids are `names` [N, K]."""
    unique, inverse = np.unique(names, return_inverse=True)
    return np.array([position[name] for name in unique])[inverse].reshape(names.shape)


def _lay_out(table: ImageTable) -> list[Sheet]:
    """The sheets of all images of the table: those of val, then the others, which are smaller."""
    stored = table.images.pixels.shape[1]
    others = len(table.rows) - table.val_count
    side = thumbnail_side(table.val_count, stored, VAL_SIDE, VAL_PIXELS)
    other_side = thumbnail_side(others, min(side, stored), OTHER_SIDE, OTHER_PIXELS)
    return [
        *lay_out_sheets(0, table.val_count, side),
        *lay_out_sheets(table.val_count, others, other_side),
    ]
