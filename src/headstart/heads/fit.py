"""From a recipe and features to a fitted head."""

from dataclasses import dataclass

import numpy as np

from headstart import params
from headstart.errors import UserError
from headstart.features import Features
from headstart.h5 import UNLABELLED
from headstart.heads import gradient
from headstart.heads.curve import Curve
from headstart.heads.head import Head, Standardization, finite_rows


@dataclass(frozen=True)
class Fitted:
    """A head, and how its training went."""

    head: Head
    curve: Curve


def fit(recipe: params.LinearHead, train: Features, tune: Features) -> Fitted:
    """The head that `recipe` makes of `train`; `tune` serves for its curve alone.

    The same recipe and features give the same head.

    Raises:
        UserError: the features can't be learnt from, or training diverged.
    """
    _check(train, tune)
    # Of the train features as well as of its own, so that one bad value is found before training.
    standardization = Standardization.of(train)
    if not recipe.standardize:
        standardization = Standardization.identity(train.width)
    model, curve = gradient.fit(recipe, train, tune, standardization)
    return Fitted(
        Head(model, standardization, train.examples.classes, train.provenance), curve
    )


def _check(train: Features, tune: Features) -> None:
    classes = train.examples.classes
    if tune.provenance != train.provenance or tune.examples.classes != classes:
        raise UserError("the features of train and tune don't belong together; extract both again")
    for split, features in (("train", train), ("tune", tune)):
        if not features.examples.labelled or not len(features.examples):
            raise UserError(f"{split} holds no or unlabelled images; a head learns from labels")
    if len(classes) < 2:
        raise UserError(f"the only class is '{classes[0].name}'; a head tells two or more apart")
    counts = np.bincount(train.examples.labels, minlength=len(classes))
    if empty := [classes[i].name for i in np.flatnonzero(counts == 0)]:
        raise UserError(
            f"{len(empty)} classes have no training images: {', '.join(empty[:12])}"
            f"{', …' if len(empty) > 12 else ''}; add images or remove the classes"
        )
    for _ in finite_rows(tune):
        pass
