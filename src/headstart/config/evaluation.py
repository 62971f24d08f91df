"""Sections of evaluate, learning_curve, ensemble, tsne and report."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from headstart.config.section import Alias, Fraction, Percent, Section, Seed, at_most

ChooseBy = Literal["accuracy", "balanced_accuracy", "macro_f1", "auroc"]


class Evaluate(Section):
    """confidence: of the bootstrap intervals. resamples: how many samples they rest on.

    choose_by: what every choice on tune rests on, of heads, epochs, members of ensembles and runs.
    coverage: how often a conformal prediction set shall hold the label.
    """

    choose_by: ChooseBy = "accuracy"
    confidence: Fraction
    coverage: Fraction
    resamples: Annotated[int, Field(ge=100), at_most(1_000_000, "more change no digit shown")]
    seed: Seed


class Classify(Section):
    """How a packaged model answers new images.

    reject: in percent. `unknown` is the answer to an image that is less familiar than so many
    percent of tune's images.
    """

    reject: Percent


class LearningCurve(Section):
    """Heads trained on at most so many images of each class, and on all of train.

    heads: none is off. subsets: random choices of so many images; of one choice the smaller numbers
    are part of the larger ones.
    """

    heads: list[Alias]
    images_per_class: Annotated[list[PositiveInt], Field(min_length=1)]
    subsets: Annotated[PositiveInt, at_most(1000, "each is a training of its own")]
    seed: Seed


class EnsembleRecipe(Section):
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
    """classes: ids or names of the classes to draw; an empty list means all.

    images_per_class: of each of the splits, at most.
    """

    renamed: ClassVar[dict[str, str]] = {"split": "splits"}

    splits: Annotated[list[Literal["train", "tune", "val"]], Field(min_length=1)]
    classes: list[str]
    images_per_class: PositiveInt
    perplexity: Annotated[float, Field(gt=1)]
    seed: Seed


class Report(Section):
    """max_images: val images that the page shows; of more it shows a random sample.

    attribution: whether it shows where a run looked at the images that it gets wrong.
    """

    attribution: bool
    max_images: Annotated[PositiveInt, at_most(100_000, "no browser opens a larger page")]
