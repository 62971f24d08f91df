"""Accuracy against the number of crops that are averaged, from cached predictions."""

from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from headstart.core.atomic_files import tsv_writer
from headstart.store.predictions import Predictions

SUBSETS = 20
"""How many subsets of crops stand for all of one size."""


class CropAccuracy(NamedTuple):
    """Top-1 over subsets of so many crops, their probabilities or their logits averaged."""

    average: str
    crops: int
    subsets: int
    mean: float
    lowest: float
    highest: float


def crop_accuracies(found: Predictions, seed: int = 0) -> list[CropAccuracy]:
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
            rows.append(CropAccuracy(average, size, len(subsets), *spread))
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


def write_crop_accuracies(path: Path, rows: list[CropAccuracy]) -> None:
    with tsv_writer(path) as table:
        table.writerow(CropAccuracy._fields)
        table.writerows([*row[:3], *(f"{value:.5f}" for value in row[3:])] for row in rows)
