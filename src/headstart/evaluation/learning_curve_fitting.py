"""Learning curves: accuracy against the number of training images, for heads of one recipe.

The subsets are the same for every backbone and head, so their curves can be compared point by
point. Every point uses all of tune, which chooses where the recipe leaves a choice, and all of val.
"""

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from headstart import config
from headstart.core.errors import UserError
from headstart.heads.fitting import check_features, fit_head
from headstart.metrics.classification_metrics import estimate_accuracy
from headstart.store.features import Features, select_images, whole_view
from headstart.store.learning_curves import LearningCurve, LearningCurvePoint


def rank_within_class(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rank [N] int64 of each image in a random order of its class's images, from labels [N].

    The images with a rank below n are n images of each class, or all where a class has fewer. A
    smaller n selects a subset of what a larger n selects.
    """
    ranks = np.empty(len(labels), np.int64)
    for c in np.unique(labels):
        of_class = np.flatnonzero(labels == c)
        ranks[rng.permutation(of_class)] = np.arange(len(of_class))
    return ranks


def choose_subsets(
    labels: np.ndarray, images_per_class: Sequence[int], subsets: int, seed: int
) -> dict[int, list[np.ndarray]]:
    """The rows of labels [N] to train on: `subsets` choices for each number of images per class.

    Numbers that reach the size of the largest class are replaced by one choice of all rows, which
    comes last.
    """
    largest = int(np.bincount(labels).max())
    orders = [
        rank_within_class(labels, np.random.default_rng([seed, index])) for index in range(subsets)
    ]
    fewer = sorted({n for n in images_per_class if n < largest})
    chosen = {n: [np.flatnonzero(order < n) for order in orders] for n in fewer}
    return chosen | {largest: [np.arange(len(labels))]}


def fit_learning_curve(
    recipe: config.Head,
    train: Features,
    tune: Features,
    val: Features,
    settings: config.LearningCurve,
    sampling: config.Evaluate,
    device: str = "auto",
) -> LearningCurve:
    """Top-1 on val for every number of `settings.images_per_class`, then for all of train.

    sampling: settings of the bootstrap over val images, and what tune chooses by. An image's value
    is the fraction of the subsets' heads that classify it correctly.

    Raises:
        UserError: as `fit_head` does; or val has no labels.
    """
    check_features(train, tune)
    labels = val.examples.labels
    if not val.examples.labeled or not len(labels):
        raise UserError("val holds no or unlabeled images; a learning curve needs their labels")
    chosen = choose_subsets(
        train.examples.labels, settings.images_per_class, settings.subsets, settings.seed
    )
    curve = []
    with tqdm(total=sum(map(len, chosen.values())), desc="learning curve", unit="head") as bar:
        for n, choices in chosen.items():
            correct = np.empty((len(labels), len(choices)))
            for index, rows in enumerate(choices):
                part = select_images(train, rows)
                head = fit_head(recipe, part, tune, device, sampling.choose_by).head
                correct[:, index] = head.logits(whole_view(val))[:, 0].argmax(axis=1) == labels
                bar.update()
            top1 = estimate_accuracy(
                correct.mean(axis=1), sampling.confidence, sampling.resamples, sampling.seed
            )
            spread = correct.mean(axis=0)
            curve.append(
                LearningCurvePoint(
                    n,
                    len(choices[0]),
                    len(choices),
                    *top1,
                    float(spread.min()),
                    float(spread.max()),
                )
            )
            bar.set_postfix(n=n, top1=f"{top1.value:.1%}")
    return curve
