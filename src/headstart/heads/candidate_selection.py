"""Candidates that fitting a head results in, and the choice among them by their scores on tune."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from headstart.core.errors import UserError
from headstart.heads.fitted_head import Standardization, iterate_finite
from headstart.heads.head_models import Model
from headstart.metrics.selection import preference, tune_score
from headstart.store.features import Features, whole_view
from headstart.store.training_curves import TrainingCurve
from headstart.store.tuning_results import Score

SCORED_LOGITS = 1 << 26
"""How many logits of tune are held at once, as float32: 256 MB."""


@dataclass(frozen=True)
class FitContext:
    """The inputs of every function that fits heads.

    device: `cpu`, `cuda` or `auto`, for heads that are trained with torch. choose_by: what tune
    chooses by, a key of `metrics.selection.CRITERIA`.
    """

    train: Features
    tune: Features
    standardization: Standardization
    device: str
    choose_by: str = "accuracy"


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
    models: Sequence[Model], tune: Features, standardization: Standardization, choose_by: str
) -> list[Score]:
    """Returns each model's score on the whole view of `tune`; NaN if its weights aren't finite.

    choose_by: a key of `metrics.selection.CRITERIA`.
    """
    scores = [Score(np.nan, np.nan)] * len(models)
    finite = [
        index
        for index, model in enumerate(models)
        if all(np.isfinite(tensor).all() for tensor in model.tensors().values())
    ]
    images, classes = len(tune.examples), len(tune.examples.classes)
    at_once = max(1, SCORED_LOGITS // (images * classes))
    for start in range(0, len(finite), at_once):
        part = finite[start : start + at_once]
        logits = np.empty((len(part), images, classes), np.float32)
        for rows, values in iterate_finite(whole_view(tune)):
            x = standardization(values[:, 0])
            for position, index in enumerate(part):
                logits[position, rows] = models[index](x)
        for index, own in zip(part, logits, strict=True):
            scores[index] = score_logits(own, tune.examples.labels, choose_by)
    return scores


def score_logits(logits: np.ndarray, labels: np.ndarray, choose_by: str) -> Score:
    """Returns the score of logits [N, C] for labels [N]."""
    at_label = logits[np.arange(len(labels)), labels]
    nll = float((logsumexp(logits, axis=1) - at_label).mean())
    return Score(tune_score(softmax(logits, axis=1), labels, choose_by), nll)


def best_candidate(scores: Sequence[Score]) -> int:
    """Returns the index of the candidate that tune prefers (see `metrics.selection`).

    Raises:
        UserError: no candidate has a score, because all of them diverged.
    """
    if not any(np.isfinite(score.nll) for score in scores):
        raise UserError("training diverged: lower the head's learning_rate or its weight_decay")
    return max(range(len(scores)), key=lambda index: preference(*scores[index]))
