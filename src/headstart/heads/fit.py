"""From a recipe and features to a fitted head, and the files that it leaves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scipy.special import softmax

from headstart import params
from headstart.calibration import fit_temperature
from headstart.errors import UserError
from headstart.features import Features, parted, whole
from headstart.heads import candidates, closed_form, curve, head, in_memory, surface
from headstart.heads.candidates import Candidate, Score, Task
from headstart.heads.curve import Curve
from headstart.heads.head import Head, Standardization, finite_rows
from headstart.heads.surface import Surface
from headstart.learnable import check_classes

Fitter = Callable[[Any, Task], list[Candidate]]


def fitter(kind: str) -> Fitter:
    """What makes heads of that kind. Those with gradients import torch, which takes seconds."""
    match kind:
        case "linear" | "mlp":
            from headstart.heads import gradient

            return gradient.fit
        case "sweep":
            from headstart.heads import sweep

            return sweep.fit
        case "ridge":
            return closed_form.ridge
        case "lda":
            return closed_form.lda
        case "logistic_regression":
            return in_memory.logistic_regression
        case _:
            assert kind == "nearest_neighbours"
            return in_memory.nearest_neighbours


@dataclass(frozen=True)
class Fitted:
    """A head with its settings and score on tune, its curve if it has epochs, and its rivals."""

    head: Head
    score: Score
    settings: dict[str, Any]
    curve: Curve
    surface: Surface


def fit(recipe: params.Head, train: Features, tune: Features, device: str = "auto") -> Fitted:
    """The head that `recipe` makes of `train`; `tune` chooses where the recipe leaves a choice.

    device: of gradient heads: `cpu`, `cuda`, or `auto` for a GPU where there is one. The same
    recipe, features and device give the same head.

    Raises:
        UserError: the features can't be learnt from, don't fit the memory, or training diverged.
    """
    check(train, tune)
    train = whole(train) if recipe.train_views == "whole" else train
    # Computed in any case: it finds a value that isn't finite before training.
    standardization = Standardization.of(train)
    if not recipe.standardize:
        standardization = Standardization.identity(train.width)
    found = fitter(recipe.kind)(recipe, Task(train, tune, standardization, device))
    scores = candidates.score([candidate.model for candidate in found], tune, standardization)
    chosen = candidates.best(scores)
    model = found[chosen].model
    untempered = Head(
        model,
        standardization,
        train.examples.classes,
        train.provenance,
        temperature=1,
        passes=len(parted(train.provenance))
        * (len(train.examples) * len(train.views) + len(tune.examples)),
    )
    logits = untempered.logits(whole(tune))[:, 0]
    temperature = fit_temperature(softmax(logits, axis=1), tune.examples.labels)
    return Fitted(
        head=replace(untempered, temperature=temperature),
        score=scores[chosen],
        settings=found[chosen].settings,
        curve=found[chosen].curve,
        surface=Surface([candidate.settings for candidate in found], scores, chosen),
    )


def save(folder: Path, fitted: Fitted) -> None:
    """The head; its curve where it has epochs and its surface where there was a choice."""
    head.save(folder / head.FILE, fitted.head)
    if fitted.curve:
        curve.write(folder / "curve.tsv", fitted.curve)
        curve.draw(folder / "curve.svg", fitted.curve)
    if len(fitted.surface.scores) > 1:
        surface.write(folder / "surface.tsv", fitted.surface)
        surface.draw(folder / "surface.svg", fitted.surface)


def check(train: Features, tune: Features) -> None:
    """Whether a head can learn from `train` and be chosen on `tune`.

    Raises:
        UserError: it can't, and why.
    """
    if (tune.provenance, tune.examples.classes) != (train.provenance, train.examples.classes):
        raise UserError("the features of train and tune don't belong together; extract both again")
    for split, features in (("train", train), ("tune", tune)):
        if not features.examples.labelled or not len(features.examples):
            raise UserError(f"{split} holds no or unlabelled images; a head learns from labels")
    check_classes(train.examples)
    for _ in finite_rows(whole(tune)):
        pass
