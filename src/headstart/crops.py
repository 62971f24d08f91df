"""Accuracy against the number of crops that are averaged, from cached predictions."""

from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from headstart import figures, files
from headstart.predictions import Predictions
from headstart.views import WHOLE

SUBSETS = 20
"""How many subsets of crops stand for all of one size."""


class Row(NamedTuple):
    """Top-1 over subsets of so many crops, their probabilities or their logits averaged."""

    average: str
    crops: int
    subsets: int
    mean: float
    lowest: float
    highest: float


def accuracies(found: Predictions, seed: int = 0) -> list[Row]:
    """Top-1 of `found` for every number of its views, over at most SUBSETS subsets of that size."""
    views = len(found.views)
    # [V, N, C], each view in one piece; sums rank as means do.
    logits = np.ascontiguousarray(np.moveaxis(found.logits, 1, 0))
    averaged = {"probabilities": softmax(logits, axis=-1), "logits": logits}
    rng = np.random.default_rng(seed)
    drawn = {size: _subsets(views, size, rng) for size in range(1, views + 1)}
    rows = []
    for average, scores in averaged.items():
        for size, subsets in drawn.items():
            tops = [
                np.mean(_sum(scores, subset).argmax(1) == found.examples.labels)
                for subset in subsets
            ]
            spread = (float(np.mean(tops)), float(min(tops)), float(max(tops)))
            rows.append(Row(average, size, len(subsets), *spread))
    return rows


def _subsets(views: int, size: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    every = list(combinations(range(views), size))
    kept = rng.choice(len(every), min(SUBSETS, len(every)), replace=False)
    return [every[i] for i in sorted(kept)]


def _sum(scores: np.ndarray, views: tuple[int, ...]) -> np.ndarray:
    """The sum of [V, N, C] over some views, without a copy of them."""
    total = scores[views[0]].copy()
    for view in views[1:]:
        total += scores[view]
    return total


def write(path: Path, rows: list[Row]) -> None:
    with files.table(path) as table:
        table.writerow(Row._fields)
        table.writerows([*row[:3], *(f"{value:.5f}" for value in row[3:])] for row in rows)


def draw(path: Path, found: Predictions, rows: list[Row]) -> None:
    """Mean top-1 and its range over subsets, for both averages, and the whole image alone."""
    whole = found.logits[:, found.views.index(WHOLE.name)].argmax(1)
    with figures.drawing(path, 6.5, 4) as figure:
        axes = figure.subplots()
        for average, colour in (("probabilities", "#1f5fa8"), ("logits", "#d1741f")):
            shown = [row for row in rows if row.average == average]
            counts = [row.crops for row in shown]
            mean, low, high = 100 * np.array([row[3:] for row in shown]).T
            axes.fill_between(counts, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(counts, mean, "o-", color=colour, markersize=4, label=f"{average} averaged")
        top1 = 100 * np.mean(whole == found.examples.labels)
        axes.plot([1], [top1], "D", color="black", label="the whole image alone")
        axes.set_xticks(range(1, len(found.views) + 1))
        axes.set_xlabel("crops averaged (line: mean over subsets of crops, band: their range)")
        axes.set_ylabel(f"top-1 in % of {len(found.examples)} val images")
        axes.legend(loc="lower right")
