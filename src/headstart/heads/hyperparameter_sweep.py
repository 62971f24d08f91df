"""Many variants of one gradient head in one run."""

import itertools
import math
import random
from collections import defaultdict
from dataclasses import replace
from typing import Any

from headstart import config
from headstart.heads.candidate_selection import Candidate, FitContext
from headstart.heads.gradient_training import check_memory, stacking_key, train_stacked

AT_ONCE = 64
"""Models in one batched product: 64 of 200 classes and 2,048 features take 0.4 GB with Adam's."""


def fit_sweep(recipe: config.SweepHead, task: FitContext) -> list[Candidate]:
    """A candidate a point, each what a run of its own would give.

    Points that see the same inputs (seed, batches, dropout, shape) are trained at once.
    """
    points = sweep_points(recipe)
    variants = [recipe.variant(point) for point in points]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, variant in enumerate(variants):
        groups[stacking_key(variant)].append(index)
    parts = [
        members[start : start + AT_ONCE]
        for members in groups.values()
        for start in range(0, len(members), AT_ONCE)
    ]
    for together in parts:
        check_memory([variants[index] for index in together], task)
    found: dict[int, Candidate] = {}
    for together in parts:
        trained = train_stacked([variants[index] for index in together], task)
        for index, candidate in zip(together, trained, strict=True):
            found[index] = replace(candidate, settings=points[index])
    return [found[index] for index in range(len(points))]


def sweep_points(recipe: config.SweepHead) -> list[dict[str, Any]]:
    """The points: all combinations of `over`, the last key fastest, or a random sample of them."""
    sizes = [len(values) for values in recipe.over.values()]
    if recipe.sample is None or recipe.sample >= math.prod(sizes):
        combinations = itertools.product(*recipe.over.values())
        return [dict(zip(recipe.over, values, strict=True)) for values in combinations]
    drawn = random.Random(recipe.seed).sample(range(math.prod(sizes)), recipe.sample)
    found = []
    for position in sorted(drawn):
        point = {}
        for key, values in recipe.over.items():
            position, index = divmod(position, len(values))
            point[key] = values[index]
        found.append(point)
    return found
