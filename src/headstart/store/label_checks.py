"""Checks of the training labels."""

import numpy as np

from headstart.core.errors import UserError
from headstart.store.examples import Examples

SHOWN_CLASSES = 12


def validate_classes(train: Examples) -> None:
    """Checks that there are two classes or more, each with training images.

    train: the training images, all labeled.

    Raises:
        UserError: there is only one class, or a class has no images.
    """
    classes = train.classes
    if len(classes) < 2:
        raise UserError(
            f"the only class is '{classes[0].name}'; it takes two or more to train a classifier"
        )
    counts = np.bincount(train.labels, minlength=len(classes))
    if empty := [classes[i].name for i in np.flatnonzero(counts == 0)]:
        raise UserError(
            f"{len(empty)} classes have no training images: {', '.join(empty[:SHOWN_CLASSES])}"
            f"{', …' if len(empty) > SHOWN_CLASSES else ''}; add images or remove the classes"
        )
