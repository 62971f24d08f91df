"""Candidates that fitting a head results in, and the choice among them by their scores on tune."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from headstart.core.errors import UserError
from headstart.heads.fitted_head import Standardization, iterate_finite
from headstart.heads.head_models import Model
from headstart.store.features import Features, whole_view
from headstart.store.training_curves import TrainingCurve
from headstart.store.tuning_results import Score


@dataclass(frozen=True)
class FitContext:
    """The inputs of every function that fits heads.

    device: `cpu`, `cuda` or `auto`, for heads that are trained with torch.
    """

    train: Features
    tune: Features
    standardization: Standardization
    device: str


@dataclass(frozen=True)
class Candidate:
    """A fitted model that tune may choose.

    settings: those in which the candidates differ. curve: one entry per epoch; empty for models
    that aren't trained in epochs.
    """

    settings: dict[str, Any]
    model: Model
    curve: TrainingCurve


def score_models(
    models: Sequence[Model], tune: Features, standardization: Standardization
) -> list[Score]:
    """Returns each model's score on the whole view of `tune`; NaN if its weights aren't finite."""
    finite = [
        index
        for index, model in enumerate(models)
        if all(np.isfinite(tensor).all() for tensor in model.tensors().values())
    ]
    sums = np.full((len(models), 2), np.nan)
    sums[finite] = 0
    for rows, values in iterate_finite(whole_view(tune)):
        x, labels = standardization(values[:, 0]), tune.examples.labels[rows]
        for index in finite:
            logits = models[index](x)
            at_label = logits[np.arange(len(labels)), labels]
            sums[index] += (
                (logits.argmax(axis=1) == labels).sum(),
                (logsumexp(logits, axis=1) - at_label).sum(),
            )
    return [Score(*means) for means in (sums / len(tune.examples)).tolist()]


def best_candidate(scores: Sequence[Score]) -> int:
    """Returns the index of the highest top-1 accuracy; among equal ones, of the lowest NLL.

    Raises:
        UserError: no candidate has a score, because all of them diverged.
    """
    finite = [index for index, score in enumerate(scores) if np.isfinite(score.nll)]
    if not finite:
        raise UserError("training diverged: lower the head's learning_rate or its weight_decay")
    return min(finite, key=lambda index: (-scores[index].top1, scores[index].nll))
