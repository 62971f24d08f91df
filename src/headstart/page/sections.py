"""What the sections of the page show, read from the tables that the other stages wrote.

Each function returns plain JSON for one section; arrays are packed, see `embedding`.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headstart.metrics.classification_metrics import wilson_interval
from headstart.metrics.paired_tests import AccuracyDifference
from headstart.page.embedding import pack_integers, round_floats
from headstart.page.image_table import ImageTable
from headstart.store.attributions import load_attribution
from headstart.store.crop_accuracies import load_crop_accuracies
from headstart.store.embeddings import load_embedding
from headstart.store.learning_curves import load_learning_curves
from headstart.store.nearest_images import load_nearest_images
from headstart.store.reliability_bins import load_reliability_bins
from headstart.store.run_metrics import read_metrics
from headstart.store.training_curves import load_training_curve

PROBABILITY_STEPS = 10_000
"""Probabilities are stored as whole numbers of so many parts."""


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: int, confidence: float) -> Any:
    """Of each class its n, and top-1 with Wilson's interval; and all cells of the confusion matrix.

    labels, predicted: [N], of all of val.
    """
    n = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    low, high = wilson_interval(hits, n, confidence)
    cells, counts = np.unique(labels * classes + predicted, return_counts=True)
    return {
        "n": n.tolist(),
        "hits": hits.tolist(),
        "low": round_floats(low),
        "high": round_floats(high),
        "cells": pack_integers(np.stack([cells // classes, cells % classes, counts], axis=1)),
    }


def predictions(top: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """The likeliest classes [N, K] of the page's val images, and their probabilities [N, K]."""
    parts = np.round(probabilities * PROBABILITY_STEPS).astype(np.int64)
    return {"count": top.shape[1], "classes": pack_integers(top), "parts": pack_integers(parts)}


def curves(results: Path, run: str, trained: bool, confidence: float) -> dict[str, Any]:
    """Reliability before and after temperature scaling, and training and crops where there are any.

    trained: whether the run has a training curve: an ensemble has none.
    """
    reliability = []
    for name, bins in load_reliability_bins(results / "reliability" / f"{run}.tsv").items():
        held = bins.n > 0
        low, high = wilson_interval(
            np.round(bins.accuracy * bins.n)[held], bins.n[held], confidence
        )
        reliability.append(
            {
                "stage": name,
                "ece": round(bins.ece, 4),
                "n": bins.n[held].tolist(),
                "confidence": round_floats(bins.confidence[held]),
                "accuracy": round_floats(bins.accuracy[held]),
                "low": round_floats(low),
                "high": round_floats(high),
            }
        )
    crops = results / "evaluation" / run / "crops.tsv"
    training = load_training_curve(results / "training" / f"{run}.tsv") if trained else []
    return {
        "calibration": read_metrics(results / "evaluation" / run / "calibration.json"),
        "reliability": reliability,
        "training": [vars(epoch) for epoch in training],
        "crops": [row._asdict() for row in load_crop_accuracies(crops)] if crops.exists() else [],
    }


def attribution(path: Path, table: ImageTable) -> dict[str, Any] | None:
    """Where a run looked at the page's images that it gets wrong; None without a file at `path`.

    Negative evidence is left out, and each map is relative to its greatest value.
    """
    if not path.exists():
        return None
    loaded = load_attribution(path)
    if loaded.unavailable:
        return {"unavailable": loaded.unavailable}
    places = table.add(loaded.ids)
    positive = np.maximum(loaded.maps[places >= 0], 0)
    greatest = np.maximum(positive.max(axis=(2, 3), keepdims=True), np.finfo(np.float32).tiny)
    _, _, height, width = loaded.maps.shape
    return {
        "height": height,
        "width": width,
        "crop": loaded.crop,
        "images": pack_integers(places[places >= 0]),
        "maps": pack_integers(np.round(255 * positive / greatest).astype(np.int64)),
    }


def learning_curves(results: Path, runs: list[str]) -> dict[str, Any]:
    """The points of each learning curve, by the name of its run."""
    loaded = load_learning_curves(results / "learning_curves", runs)
    return {run: [point._asdict() for point in curve] for run, curve in loaded.items()}


def pairs(
    differences: list[AccuracyDifference], correct: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Of each pair of runs the difference in top-1, and how many images only one gets right."""
    return [
        {
            **pair._asdict(),
            "only_better": int((correct[pair.better] & ~correct[pair.worse]).sum()),
            "only_worse": int((correct[pair.worse] & ~correct[pair.better]).sum()),
        }
        for pair in differences
    ]


def feature_map(results: Path, backbone: str, table: ImageTable) -> dict[str, Any]:
    """The points of a backbone's t-SNE whose images are on the page."""
    embedding = load_embedding(results / "tsne" / f"{backbone}.tsv")
    places = table.add(embedding.ids)
    held = places >= 0
    x, y = embedding.points[held].T
    return {
        "backbone": backbone,
        "embedded": len(places),
        "images": pack_integers(places[held]),
        "x": round_floats(x, 2),
        "y": round_floats(y, 2),
    }


def nearest(results: Path, backbones: list[str], table: ImageTable) -> list[dict[str, Any]]:
    """The nearest training images of the page's val images, for each backbone.

    The table may have no place for all of them, so the nearest of all backbones are added first.
    `images` holds place + 1, or 0 for an image without a place.
    """
    loaded = {b: load_nearest_images(results / "neighbors" / f"{b}-train.tsv") for b in backbones}
    rows = table.val_positions
    for rank in range(max((images.nearest.shape[1] for images in loaded.values()), default=0)):
        for images in loaded.values():
            table.add(images.nearest[rows, rank].tolist())
    return [
        {
            "backbone": backbone,
            "count": images.nearest.shape[1],
            "images": pack_integers(1 + table.add(images.nearest[rows].ravel().tolist())),
            "similarity": pack_integers(
                np.round((1 + images.similarity[rows]) / 2 * PROBABILITY_STEPS).astype(np.int64)
            ),
        }
        for backbone, images in loaded.items()
    ]
