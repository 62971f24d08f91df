"""Localizers of several classes: training, and evaluation against the baselines."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from headstart.backbones.loading import load_backbone
from headstart.config import Backbone, Evaluate, Localize
from headstart.core.devices import resolve_device
from headstart.core.errors import UserError
from headstart.localization.baselines import mean_box, ridge_box
from headstart.localization.feature_maps import MapEncoder
from headstart.localization.localizer_training import BoxedImages, train_localizer
from headstart.metrics.localization_metrics import (
    LocatedBoxes,
    Resampled,
    best_threshold,
    localization_metrics,
    mean_resampled,
)
from headstart.store.class_lookup import find_classes
from headstart.store.examples import Split
from headstart.store.features import Features, select_images, whole_view
from headstart.store.images import Images
from headstart.store.localizations import LOCALIZER, TRUTH, BoxRow, LocalizerEpoch, Picture

PICTURES = 12
"""How many val images of each class are kept to be shown: the first ones."""

LEAST_IMAGES: dict[Split, int] = {"train": 2, "tune": 1, "val": 1}

Metrics = dict[str, dict[str, Resampled]]
"""`iou` and `average_precision` of each method."""


class Localization(NamedTuple):
    """What the localizers of one backbone did.

    metrics: {"classes": {class id: {"name", "train", "tune", "n", "objects", "emitted", "epoch",
    "threshold", and of each method its metrics}}}, and for several classes "mean": the means of the
    metrics over them. n, objects, emitted: images of val, and the boxes there and emitted in them.
    """

    metrics: dict[str, Any]
    boxes: list[BoxRow]
    curves: list[LocalizerEpoch]
    pictures: list[Picture]


def localize(
    images: Images,
    features: Mapping[Split, Features],
    zoo: Backbone,
    settings: Localize,
    evaluate: Evaluate,
) -> Localization:
    """Trains and evaluates a localizer for each class of `settings.classes`.

    Images of a class without a box are left out. tune chooses the epoch and the threshold; val is
    what is reported.

    features: of train, tune and val. zoo: the backbone's entry. evaluate: how intervals are made.

    Raises:
        UserError: a class is unknown or has too few boxes, an image has more boxes than there are
            steps, the backbone has no feature map, or training failed (see `train_localizer`).
    """
    labels = find_classes(settings.classes, images.examples.classes, "localize.classes")
    rows = {label: _boxed_rows(images, label) for label in labels}
    check_boxes(images, rows, settings.steps)
    device = resolve_device(settings.device)
    encoder = MapEncoder(load_backbone(zoo)).to(device)
    result = Localization({"classes": {}}, [], [], [])
    measured: list[Metrics] = []
    for label in labels:
        class_ = images.examples.classes[label]
        of_split = {split: _read(images, own) for split, own in rows[label].items()}
        train, tune, val = of_split.values()
        trained = train_localizer(encoder, train, tune, val, settings, device, class_.id)
        threshold = best_threshold(trained.tune)
        of_features = {
            split: _features(features[split], images, own) for split, own in rows[label].items()
        }
        methods = {
            LOCALIZER: replace(trained.val, threshold=threshold),
            "ridge": ridge_box(of_features, train, tune, val),
            "mean_box": mean_box(train, val),
        }
        metrics = {
            name: localization_metrics(located, evaluate.resamples, evaluate.seed)
            for name, located in methods.items()
        }
        measured.append(metrics)
        result.metrics["classes"][class_.id] = {
            "name": class_.name,
            **{split: len(own) for split, own in of_split.items() if split != "val"},
            "n": len(val),
            "objects": int(methods[LOCALIZER].truth_counts.sum()),
            "emitted": int(methods[LOCALIZER].emitted.sum()),
            "epoch": trained.epoch,
            "threshold": threshold,
            **_described(metrics, evaluate.confidence),
        }
        ids = [images.examples.ids[row] for row in rows[label]["val"]]
        result.boxes.extend(_box_rows(ids, class_.id, methods))
        result.curves.extend(trained.curve)
        result.pictures.extend(map(Picture, ids[:PICTURES], val.pixels[:PICTURES]))
    if len(labels) > 1:
        means = {
            method: {
                name: mean_resampled([metrics[method][name] for metrics in measured])
                for name in measured[0][method]
            }
            for method in measured[0]
        }
        counts = {
            key: sum(entry[key] for entry in result.metrics["classes"].values())
            for key in ("train", "tune", "n", "objects", "emitted")
        }
        result.metrics["mean"] = counts | _described(means, evaluate.confidence)
    return result


def check_boxes(images: Images, rows: Mapping[int, Mapping[Split, np.ndarray]], steps: int) -> None:
    """Checks that there are boxes to learn from, and no more in an image than can be emitted.

    rows: of each class and split, the rows of images with boxes.

    Raises:
        UserError: there are too few, or too many; all classes are named.
    """
    classes = images.examples.classes
    problems = [
        f"localize.classes: {split} has {len(own)} images of '{classes[label].name}' with a box, "
        f"and {least} is the least; give boxes (of an image_folder in boxes.tsv), or name other "
        f"classes"
        for label, of_split in rows.items()
        for split, least in LEAST_IMAGES.items()
        if len(own := of_split[split]) < least
    ]
    every = [own for of_split in rows.values() for own in of_split.values()]
    most = int(np.isfinite(images.boxes[np.concatenate(every), :, 0]).sum(1).max(initial=0))
    if most > steps:
        problems.append(
            f"localize.steps: is {steps}, and an image has {most} boxes; raise it to {most}"
        )
    if problems:
        raise UserError("\n".join(problems))


def _boxed_rows(images: Images, label: int) -> dict[Split, np.ndarray]:
    """Returns the rows of a class's images that have a box, of train, tune and val."""
    boxed = (images.examples.labels == label) & np.isfinite(images.boxes[:, 0, 0])
    splits: tuple[Split, ...] = ("train", "tune", "val")
    return {split: (rows := images.rows(split))[boxed[rows]] for split in splits}


def _read(images: Images, rows: np.ndarray) -> BoxedImages:
    boxes = [own[np.isfinite(own[:, 0])].astype(np.float64) for own in images.boxes[rows]]
    return BoxedImages(np.stack([images.pixels[row] for row in rows]), boxes)


def _features(features: Features, images: Images, rows: np.ndarray) -> np.ndarray:
    """Returns the features of the whole images at `rows`: [N, D] float64.

    Raises:
        UserError: they are features of other images.
    """
    position = {id_: i for i, id_ in enumerate(features.examples.ids)}
    try:
        positions = np.array([position[images.examples.ids[row]] for row in rows])
    except KeyError:
        raise UserError("the features are of other images; run `dvc repro`") from None
    return select_images(whole_view(features), positions).values[:][:, 0].astype(np.float64)


def _described(metrics: Metrics, confidence: float) -> dict[str, Any]:
    """Returns each method's metrics with intervals, and what the localizer is ahead of it."""
    described: dict[str, Any] = {}
    for method, own in metrics.items():
        described[method] = {}
        for name, metric in own.items():
            described[method] |= _with_interval(name, metric, confidence)
            if method != LOCALIZER:
                ahead = metrics[LOCALIZER][name] - metric
                described[method] |= _with_interval(f"{LOCALIZER}_{name}_gain", ahead, confidence)
    return described


def _with_interval(name: str, metric: Resampled, confidence: float) -> dict[str, Any]:
    value, low, high = (round(number, 5) for number in metric.estimate(confidence))
    return {name: value, f"{name}_interval": [low, high]}


def _box_rows(ids: list[str], class_id: str, methods: dict[str, LocatedBoxes]) -> list[BoxRow]:
    rows = []
    truths = methods[LOCALIZER].truths
    for i, id_ in enumerate(ids):
        own = truths[i][np.isfinite(truths[i, :, 0])]
        rows += [
            BoxRow(id_, class_id, TRUTH, x0, y0, x1, y1, 1.0, 1) for x0, y0, x1, y1 in own.tolist()
        ]
        for source, located in methods.items():
            emitted = located.emitted[i].astype(int).tolist()
            boxes, scores = located.boxes[i].tolist(), located.scores[i].tolist()
            rows += [
                BoxRow(id_, class_id, source, x0, y0, x1, y1, score, sent)
                for (x0, y0, x1, y1), score, sent in zip(boxes, scores, emitted, strict=True)
            ]
    return rows
