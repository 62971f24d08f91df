"""Sections of evaluate, ensemble and tsne."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from headstart.params.section import Alias, Fraction, Section


class Evaluate(Section):
    """confidence: of the bootstrap intervals. resamples: how many samples they rest on.

    coverage: how often a conformal prediction set shall hold the label.
    """

    confidence: Fraction
    coverage: Fraction
    resamples: Annotated[int, Field(ge=100)]
    seed: int


class EnsembleOf(Section):
    """members: names of runs. Or snapshots_of: a network of train_scratch, members its snapshots.

    choose: all of them, or the best N in a ranked or greedy order.
    """

    members: Annotated[list[str], Field(min_length=2)] | None = None
    snapshots_of: Alias | None = None
    average: Literal["probabilities", "logits"] = "probabilities"
    choose: Literal["all", "ranked", "greedy"] = "all"

    @model_validator(mode="after")
    def _members_are_told_in_one_way(self) -> Self:
        if (self.members is None) == (self.snapshots_of is None):
            raise ValueError("give either `members` or `snapshots_of`")
        return self


class Ensemble(Section):
    ensembles: list[Alias]


class TSNE(Section):
    """classes: ids or names of the classes to draw; an empty list means all."""

    split: Literal["train", "tune", "val"]
    classes: list[str]
    images_per_class: PositiveInt
    perplexity: Annotated[float, Field(gt=1)]
    seed: int
