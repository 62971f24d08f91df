"""Ensembles: the averaged predictions of several runs, or of snapshots of one training run.

Milani (section 3.4) ranks snapshots by accuracy and averages the best N. He chose N on val; here
tune chooses it.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from headstart.config import EnsembleRecipe
from headstart.core.errors import UserError
from headstart.metrics.classification_metrics import average_probabilities
from headstart.metrics.selection import tune_score
from headstart.store.ensemble_curves import EnsembleCurve, EnsembleSize
from headstart.store.predictions import Predictions

Average = Literal["probabilities", "logits"]


def member_names(recipe: EnsembleRecipe, predictions: Path) -> list[str]:
    """The members' folders, relative to `predictions`, the folder of all runs' predictions.

    Raises:
        UserError: the training run kept too few snapshots to average.
    """
    if recipe.members is not None:
        return recipe.members
    folders = sorted((predictions / str(recipe.snapshots_of)).glob("snapshot_*"))
    if len(folders) < 2:
        raise UserError(
            f"{recipe.snapshots_of} has {len(folders)} snapshots, and an ensemble wants two: one "
            f"is kept whenever the score on tune rises, so train it for more epochs"
        )
    return [folder.relative_to(predictions).as_posix() for folder in folders]


def align_members(members: Sequence[Predictions]) -> list[Predictions]:
    """`members` reduced to the views that all of them have, in the same order.

    Raises:
        UserError: they don't predict the same classes for the same images, or have no common view.
    """
    first = members[0]
    for member in members[1:]:
        if member.examples.ids != first.examples.ids:
            raise UserError("the ensemble's members saw different images; run `dvc repro`")
        if member.examples.classes != first.examples.classes:
            raise UserError("the ensemble's members know different classes; run `dvc repro`")
    views = [view for view in first.views if all(view in member.views for member in members)]
    if not views:
        raise UserError("the ensemble's members have no view in common")
    return [
        replace(
            member, logits=member.logits[:, [member.views.index(v) for v in views]], views=views
        )
        for member in members
    ]


def average_members(members: Sequence[Predictions], how: Average) -> Predictions:
    """The average of the aligned `members`, view by view.

    how: "probabilities" is Milani's eq. 2; the logits that are returned are then the logarithms of
    the averaged probabilities, so their softmax is those probabilities. "logits" averages scores,
    as Inan does. The passes and parameters are the sums of the members'.
    """
    if how == "probabilities":
        mean = average_probabilities(member.logits for member in members)
        logits = np.log(np.maximum(mean, np.finfo(np.float32).tiny))
    else:
        logits = np.mean([member.logits for member in members], axis=0, dtype=np.float64)
    passes = sum(member.passes for member in members)
    parameters = sum(member.parameters for member in members)
    return replace(
        members[0], logits=logits.astype(np.float32), passes=passes, parameters=parameters
    )


class _Votes:
    """Scores [N, W, C] of aligned members; their sum ranks classes as `average_members` does.

    Probabilities are averaged over the views first (W = 1); logits keep their views (W = V).
    """

    def __init__(self, members: Sequence[Predictions], how: Average, choose_by: str) -> None:
        self.how, self.choose_by = how, choose_by
        self.labels = members[0].examples.labels
        self.scores = [
            _over_views(member.logits)[:, None] if how == "probabilities" else member.logits
            for member in members
        ]

    def score(self, total: np.ndarray, count: int) -> float:
        """How good a sum of `count` members' scores is, by what tune chooses by."""
        votes = total[:, 0] if self.how == "probabilities" else _over_views(total / count)
        return tune_score(votes, self.labels, self.choose_by)

    def curve(self, order: Sequence[int]) -> list[float]:
        """How good the first 1, 2, ... members of `order` are."""
        total = np.zeros_like(self.scores[0])
        curve = []
        for count, member in enumerate(order, start=1):
            total = total + self.scores[member]
            curve.append(self.score(total, count))
        return curve


def _over_views(logits: np.ndarray) -> np.ndarray:
    return average_probabilities(np.moveaxis(logits, 1, 0))


def _ranked(votes: _Votes) -> list[int]:
    """The members in the order of their own score, highest first (Milani)."""
    alone = [votes.score(scores, 1) for scores in votes.scores]
    return sorted(range(len(alone)), key=lambda member: -alone[member])


def _greedy(votes: _Votes) -> list[int]:
    """The best member, then repeatedly the one that raises it most (Caruana et al., 2004)."""
    remaining = _ranked(votes)
    order = [remaining.pop(0)]
    total = votes.scores[order[0]]
    while remaining:
        count = len(order) + 1
        best = max(remaining, key=lambda member: votes.score(total + votes.scores[member], count))
        remaining.remove(best)
        order.append(best)
        total = total + votes.scores[best]
    return order


ORDERS = {"ranked": _ranked, "greedy": _greedy}


class Choice(NamedTuple):
    """The order in which members join, and how many of them tune keeps.

    tune, val: the score of the first 1, 2, ... members. Only the one on tune is used to choose.
    count: the number of members that are kept.
    """

    order: list[int]
    tune: list[float]
    val: list[float]
    count: int

    @property
    def members(self) -> list[int]:
        """The positions of the members that are kept."""
        return self.order[: self.count]


def choose_members(
    tune: Sequence[Predictions],
    val: Sequence[Predictions],
    how: Average,
    order: str,
    choose_by: str = "accuracy",
) -> Choice:
    """The best-N ensemble of aligned members, its order and N chosen on tune.

    Args:
        order: a key of ORDERS. Among equally good N the smallest is chosen.
        choose_by: what tune chooses by, a key of `metrics.selection.CRITERIA`.
    """
    on_tune = _Votes(tune, how, choose_by)
    joined = ORDERS[order](on_tune)
    curve = on_tune.curve(joined)
    on_val = _Votes(val, how, choose_by).curve(joined)
    return Choice(joined, curve, on_val, int(np.argmax(curve)) + 1)


def ensemble_curve(choice: Choice, names: Sequence[str]) -> EnsembleCurve:
    """The table of `choice`; names: of the members, by position."""
    return [
        EnsembleSize(i + 1, names[member], choice.tune[i], choice.val[i], i < choice.count)
        for i, member in enumerate(choice.order)
    ]
