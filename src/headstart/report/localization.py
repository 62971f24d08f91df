"""The localizers in the report: a table of their metrics, and pictures of their boxes."""

import json
from collections import defaultdict
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from headstart.core.errors import UserError
from headstart.plotting import save_figure
from headstart.store.localizations import (
    BASELINES,
    LOCALIZER,
    TRUTH,
    BoxRow,
    Picture,
    load_boxes,
    load_pictures,
)

COLUMNS = 6
"""Pictures per row."""

COLORS = {TRUTH: "#ffffff", LOCALIZER: "#e4572e"}


def localization_section(results: Path, backbones: list[str], confidence: float) -> str:
    """Returns a section of the report in Markdown; "" without backbones.

    results: the folder of all results. confidence: of the intervals.

    Raises:
        UserError: a backbone has no results.
    """
    if not backbones:
        return ""
    parts = ["\n## Localization\n"]
    for backbone in backbones:
        metrics = _load_metrics(results / "localization" / backbone / "metrics.json")
        rows = [
            "| class | n | method | mean IoU | average precision at 0.5 |",
            "| --- | ---: | --- | ---: | ---: |",
        ]
        for own in (*metrics["classes"].values(), *filter(None, [metrics.get("mean")])):
            rows += [
                f"| {own.get('name', '**mean of the classes**')} | {own['n']} | {name} | "
                f"{_value(own[method], 'iou')} | {_value(own[method], 'average_precision')} |"
                for method, name in {LOCALIZER: f"LSTM on {backbone}", **BASELINES}.items()
            ]
        parts += ["\n".join(rows), "", _gains(metrics)]
    parts.append(
        f"Boxes on the images of val that have one, with {confidence:.0%} bootstrap intervals over "
        "images. Mean IoU is over all objects, of the emitted box that is theirs; average "
        "precision over all thresholds of the confidence. A baseline emits one box per image and "
        "has no confidence. tune chose the epoch, the threshold and the strength of the ridge.\n"
    )
    return "\n".join(parts)


def _load_metrics(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError(f"{path} is missing; `dvc repro` makes it")
    return json.loads(path.read_text("utf-8"))


def _value(metrics: dict[str, Any], name: str) -> str:
    low, high = metrics[f"{name}_interval"]
    return f"{metrics[name]:.3f} [{low:.3f}, {high:.3f}]"


def _gains(metrics: dict[str, Any]) -> str:
    """Returns a line per class, of how far the localizer is ahead of each baseline."""
    key = f"{LOCALIZER}_iou_gain"
    lines = [
        f"- {own['name']}: the LSTM's mean IoU exceeds "
        + " and ".join(
            f"that of {name} by {_value(own[baseline], key)}"
            for baseline, name in BASELINES.items()
        )
        + ", paired."
        for own in metrics["classes"].values()
    ]
    return "\n".join(lines) + "\n"


def draw_localization_figures(results: Path, figures: Path, backbones: list[str]) -> None:
    """Draws <figures>/localization/<backbone>-<class>.png of each class of each backbone.

    Raises:
        UserError: a backbone has no results.
    """
    for backbone in backbones:
        folder = results / "localization" / backbone
        names = {
            class_id: own["name"]
            for class_id, own in _load_metrics(folder / "metrics.json")["classes"].items()
        }
        boxes: dict[str, list[BoxRow]] = defaultdict(list)
        for row in load_boxes(folder / "boxes.tsv"):
            boxes[row.id].append(row)
        pictures: dict[str, list[Picture]] = defaultdict(list)
        for picture in load_pictures(folder / "pictures.h5"):
            pictures[boxes[picture.id][0].class_id].append(picture)
        for number, (class_id, shown) in enumerate(pictures.items()):
            # A class's id is a folder's name, which may hold any character.
            path = figures / "localization" / backbone / f"{number:03d}.png"
            draw_boxes(path, names[class_id], shown, boxes)


def draw_boxes(
    path: Path, title: str, pictures: list[Picture], boxes: dict[str, list[BoxRow]]
) -> None:
    """Draws pictures with the boxes that are there and those that the localizer emitted.

    boxes: the rows of each picture's id.
    """
    rows = ceil(len(pictures) / COLUMNS)
    with save_figure(path, 1.7 * COLUMNS, 0.7 + 1.9 * rows) as figure:
        figure.suptitle(f"{title}: true boxes white, the localizer's orange with its confidence")
        grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes in grid:
            axes.axis("off")
        for axes, picture in zip(grid, pictures, strict=False):
            _draw_picture(axes, picture, boxes[picture.id])


def _draw_picture(axes: Axes, picture: Picture, rows: list[BoxRow]) -> None:
    axes.imshow(picture.pixels, interpolation="nearest")
    located = [row for row in rows if row.source == LOCALIZER and row.emitted]
    for row in (*(row for row in rows if row.source == TRUTH), *located):
        # A dark line below keeps a box visible on any picture.
        for color, width in (("#222222", 3.2), (COLORS[row.source], 1.8)):
            edges = Rectangle(
                (row.x0 - 0.5, row.y0 - 0.5),
                row.x1 - row.x0,
                row.y1 - row.y0,
                fill=False,
                edgecolor=color,
                linewidth=width,
                clip_on=False,
            )
            axes.add_patch(edges)
    confidences = ", ".join(f"{row.score:.2f}" for row in located)
    axes.set_title(confidences or "no box", fontsize=8)
