"""Hyperparameter sweep: many variants of one linear head or MLP, trained in one run."""

import itertools
import math
import random
from collections import defaultdict
from dataclasses import replace
from typing import Any

from headstart import config
from headstart.heads.candidate_selection import Candidate, FitContext
from headstart.heads.gradient_training import check_memory, stacking_key, train_stacked

MAX_STACKED_MODELS = 64
"""Number of models trained at once.

With 200 classes and 2,048 features, 64 models and their moments in Adam take 0.4 GB.
"""


def fit_sweep(recipe: config.SweepHead, context: FitContext) -> list[Candidate]:
    """Returns one candidate per point of the sweep, each equal to the result of a separate run.

    Points with the same inputs (seed, batches, dropout and shape) are trained at once.
    """
    points = sweep_points(recipe)
    variants = [recipe.variant(point) for point in points]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, variant in enumerate(variants):
        groups[stacking_key(variant)].append(index)
    stacks = [
        members[start : start + MAX_STACKED_MODELS]
        for members in groups.values()
        for start in range(0, len(members), MAX_STACKED_MODELS)
    ]
    for stack in stacks:
        check_memory([variants[index] for index in stack], context)
    candidates: dict[int, Candidate] = {}
    for stack in stacks:
        trained = train_stacked([variants[index] for index in stack], context)
        for index, candidate in zip(stack, trained, strict=True):
            candidates[index] = replace(candidate, settings=points[index])
    return [candidates[index] for index in range(len(points))]


def sweep_points(recipe: config.SweepHead) -> list[dict[str, Any]]:
    """Returns all combinations of the values in `over`, or a random sample of them.

    The values of the last key change fastest.
    """
    sizes = [len(values) for values in recipe.over.values()]
    if recipe.sample is None or recipe.sample >= math.prod(sizes):
        combinations = itertools.product(*recipe.over.values())
        return [dict(zip(recipe.over, values, strict=True)) for values in combinations]
    positions = random.Random(recipe.seed).sample(range(math.prod(sizes)), recipe.sample)
    points = []
    for position in sorted(positions):
        point = {}
        for key, values in recipe.over.items():
            position, index = divmod(position, len(values))
            point[key] = values[index]
        points.append(point)
    return points
