"""What a fitter offers, and how tune chooses among it."""

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
    """What every fitter starts from. device: `cpu`, `cuda` or `auto`, for those that use torch."""

    train: Features
    tune: Features
    standardization: Standardization
    device: str


@dataclass(frozen=True)
class Candidate:
    """A model, the settings that tell it from its rivals, and its curve if it has epochs."""

    settings: dict[str, Any]
    model: Model
    curve: TrainingCurve


def score_models(
    models: Sequence[Model], tune: Features, standardization: Standardization
) -> list[Score]:
    """One score a model; NaN for one with weights that aren't finite."""
    sound = [
        index
        for index, model in enumerate(models)
        if all(np.isfinite(tensor).all() for tensor in model.tensors().values())
    ]
    sums = np.full((len(models), 2), np.nan)
    sums[sound] = 0
    for rows, values in iterate_finite(whole_view(tune)):
        x, labels = standardization(values[:, 0]), tune.examples.labels[rows]
        for index in sound:
            logits = models[index](x)
            at_label = logits[np.arange(len(labels)), labels]
            sums[index] += (
                (logits.argmax(axis=1) == labels).sum(),
                (logsumexp(logits, axis=1) - at_label).sum(),
            )
    return [Score(*means) for means in (sums / len(tune.examples)).tolist()]


def best_candidate(scores: Sequence[Score]) -> int:
    """The position of the highest top-1 accuracy; among equals, of the lowest likelihood loss.

    Raises:
        UserError: no candidate has a score, because all diverged.
    """
    sound = [index for index, found in enumerate(scores) if np.isfinite(found.nll)]
    if not sound:
        raise UserError("training diverged: lower the head's learning_rate or its weight_decay")
    return min(sound, key=lambda index: (-scores[index].top1, scores[index].nll))
