"""Accuracy against the number of crops that are averaged, computed from stored predictions."""

from itertools import combinations

import numpy as np
from scipy.special import softmax

from headstart.store.crop_accuracies import CropAccuracy
from headstart.store.predictions import Predictions

SUBSETS = 20
"""At most this many subsets of each size are evaluated."""


def crop_accuracies(predictions: Predictions, seed: int = 0) -> list[CropAccuracy]:
    """Top-1 for every number of views, over at most SUBSETS random subsets of that size.

    seed: of the choice of subsets.
    """
    views = len(predictions.views)
    # [V, N, C]: each view is contiguous. A sum over views ranks classes as their mean does.
    logits = np.ascontiguousarray(np.moveaxis(predictions.logits, 1, 0))
    averaged = {"probabilities": softmax(logits, axis=-1), "logits": logits}
    rng = np.random.default_rng(seed)
    subsets_by_size = {size: _draw_subsets(views, size, rng) for size in range(1, views + 1)}
    rows = []
    for average, scores in averaged.items():
        for size, subsets in subsets_by_size.items():
            top1 = [
                np.mean(_sum_views(scores, subset).argmax(1) == predictions.examples.labels)
                for subset in subsets
            ]
            spread = (float(np.mean(top1)), float(min(top1)), float(max(top1)))
            rows.append(CropAccuracy(average, size, len(subsets), *spread))
    return rows


def _draw_subsets(views: int, size: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    every = list(combinations(range(views), size))
    kept = rng.choice(len(every), min(SUBSETS, len(every)), replace=False)
    return [every[i] for i in sorted(kept)]


def _sum_views(scores: np.ndarray, views: tuple[int, ...]) -> np.ndarray:
    """The sum of scores [V, N, C] over `views`, [N, C], without copying them first."""
    total = scores[views[0]].copy()
    for view in views[1:]:
        total += scores[view]
    return total
