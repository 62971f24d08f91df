"""From a recipe and features to a fitted head."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headstart import config
from headstart.core.errors import UserError
from headstart.heads.candidate_selection import Candidate, FitContext, best_candidate, score_models
from headstart.heads.fitted_head import FittedHead, Standardization, iterate_finite
from headstart.heads.logistic_regression_and_knn import (
    fit_logistic_regression,
    fit_nearest_neighbors,
)
from headstart.heads.ridge_and_lda import fit_lda, fit_ridge
from headstart.metrics.selection import CRITERIA
from headstart.store.features import Features, count_networks, whole_view
from headstart.store.label_checks import validate_classes
from headstart.store.training_curves import TrainingCurve
from headstart.store.tuning_results import Score, TuningResults

Fitter = Callable[[Any, FitContext], list[Candidate]]


def find_fitter(kind: str) -> Fitter:
    """Returns the function that fits heads of a kind.

    Only the kinds that are trained by gradient descent import torch, which takes seconds.
    """
    match kind:
        case "linear" | "mlp":
            from headstart.heads.gradient_training import fit_gradient_head

            return fit_gradient_head
        case "sweep":
            from headstart.heads.hyperparameter_sweep import fit_sweep

            return fit_sweep
        case "ridge":
            return fit_ridge
        case "lda":
            return fit_lda
        case "logistic_regression":
            return fit_logistic_regression
        case _:
            assert kind == "nearest_neighbors"
            return fit_nearest_neighbors


@dataclass(frozen=True)
class FitResult:
    """A fitted head and the results of choosing it.

    score: on tune. settings: those in which the candidates differ. curve: one entry per epoch;
    empty for heads that aren't trained in epochs. surface: the scores of all candidates.
    """

    head: FittedHead
    score: Score
    settings: dict[str, Any]
    curve: TrainingCurve
    surface: TuningResults


def fit_head(
    recipe: config.Head,
    train: Features,
    tune: Features,
    device: str = "auto",
    choose_by: str = "accuracy",
) -> FitResult:
    """Fits a head on `train`; if the recipe has several candidates, `tune` chooses among them.

    The same recipe, features and device give the same head.

    device: `cpu`, `cuda`, or `auto` for a GPU if there is one; used by heads that are trained by
    gradient descent. choose_by: what tune chooses by, a key of `metrics.selection.CRITERIA`.

    Raises:
        UserError: the features can't be learned from, they don't fit into memory, or training
            diverged.
    """
    check_features(train, tune)
    train = whole_view(train) if recipe.train_views == "whole" else train
    # Computed even if it isn't used, because it finds non-finite values before training.
    standardization = Standardization.from_features(train)
    if not recipe.standardize:
        standardization = Standardization.identity(train.width)
    context = FitContext(train, tune, standardization, device, choose_by)
    candidates = find_fitter(recipe.kind)(recipe, context)
    models = [candidate.model for candidate in candidates]
    scores = score_models(models, tune, standardization, choose_by)
    best = best_candidate(scores)
    head = FittedHead(
        candidates[best].model,
        standardization,
        train.examples.classes,
        train.provenance,
        passes=count_networks(train.provenance)
        * (len(train.examples) * len(train.views) + len(tune.examples)),
    )
    return FitResult(
        head=head,
        score=scores[best],
        settings=candidates[best].settings,
        curve=candidates[best].curve,
        surface=TuningResults(
            [candidate.settings for candidate in candidates],
            scores,
            best,
            CRITERIA[choose_by].metric,
        ),
    )


def check_features(train: Features, tune: Features) -> None:
    """Checks that a head can be trained on `train` and chosen on `tune`.

    Raises:
        UserError: the features were extracted differently, a split has no images or no labels, a
            class has no images in train, or the features of tune aren't finite.
    """
    if (tune.provenance, tune.examples.classes) != (train.provenance, train.examples.classes):
        raise UserError(
            "the features of train and tune were extracted differently; extract both again"
        )
    for split, features in (("train", train), ("tune", tune)):
        if not features.examples.labeled or not len(features.examples):
            raise UserError(
                f"{split} has no images, or images without labels; a head needs labeled images"
            )
    validate_classes(train.examples)
    for _ in iterate_finite(whole_view(tune)):
        pass
