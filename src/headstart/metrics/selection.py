"""What tune chooses by: the one place that says which of several models is better on tune.

Heads and their epochs, epochs of a training, members of an ensemble and runs are all chosen here.
"""

from math import isfinite
from typing import NamedTuple

import numpy as np

from headstart.metrics.class_averages import (
    balanced_accuracy,
    macro_auroc,
    macro_f1,
    one_hot,
    placements,
)


class Criterion(NamedTuple):
    """metric: its name in METRIC_NAMES. title: as people read it."""

    metric: str
    title: str


CRITERIA = {
    "accuracy": Criterion("top1", "top-1"),
    "balanced_accuracy": Criterion("balanced_accuracy", "balanced accuracy"),
    "macro_f1": Criterion("macro_f1", "macro-F1"),
    "auroc": Criterion("auroc", "AUROC"),
}
"""By the value of `evaluate.choose_by`; of each, higher is better."""


def tune_score(probabilities: np.ndarray, labels: np.ndarray, choose_by: str) -> float:
    """Returns how good predictions of tune are; higher is better.

    probabilities: [N, C]. labels: [N]. choose_by: a key of CRITERIA.
    """
    answers = probabilities.argmax(axis=1)
    if choose_by == "accuracy":
        return float(np.mean(answers == labels))
    classes, every = probabilities.shape[1], np.ones((1, len(labels)))
    targets, predicted = one_hot(labels, classes), one_hot(answers, classes)
    match choose_by:
        case "balanced_accuracy":
            [score] = balanced_accuracy(predicted, targets, every)
        case "macro_f1":
            [score] = macro_f1(predicted, targets, every)
        case _:
            assert choose_by == "auroc"
            [score] = macro_auroc(placements(probabilities, targets), targets, every)
    return float(score)


def preference(score: float, nll: float) -> tuple[float, float]:
    """Returns a key whose maximum is the best: the highest score, among equal ones the lowest NLL.

    Whatever diverged, so that its NLL isn't finite, is the last.
    """
    return (score, -nll) if isfinite(nll) else (-1.0, 0.0)
