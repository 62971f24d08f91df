"""Sections of train_head: every kind of head.

The defaults are the values of params.yaml's entries.
"""

from math import prod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    ByteSize,
    Discriminator,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from headstart.config.section import (
    Alias,
    BatchSize,
    ClassWeights,
    Device,
    Epochs,
    NotNegative,
    Positive,
    Section,
    Seed,
    at_most,
)
from headstart.core.errors import did_you_mean

MAX_POINTS = 10_000
"""Limit on a sweep's points: each is a model in memory until tune has chosen."""


class HeadSection(Section):
    """Keys of all heads.

    standardize: whether features are scaled to mean 0 and variance 1 over train. train_views:
    whether the head is trained on the whole view or on all views, augmented ones included.
    """

    standardize: bool = True
    train_views: Literal["whole", "all"] = "whole"


class WeightedHead(HeadSection):
    """class_weights: none gives every image the same weight, balanced every class."""

    class_weights: ClassWeights = "none"


class GradientHead(WeightedHead):
    """A head trained by Adam with label smoothing and exponential decay (Milani, sections 3.1,
    4.2).

    learning_rate_decay: factor on the learning rate per epoch. weight_decay: L2 strength, the
    loss's term weight_decay * sum(weight ** 2) / 2. dropout: of every layer's input. keep: the
    weights of the last epoch, or of the epoch with the best accuracy on tune. average_snapshots:
    the mean of the weights of so many epochs, the last or the best ones.
    """

    learning_rate: Positive = 0.001
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    weight_decay: NotNegative = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    epochs: Epochs = 15
    batch_size: BatchSize = 128
    seed: Seed = 0
    keep: Literal["last", "best"] = "last"
    average_snapshots: PositiveInt = 1

    @model_validator(mode="after")
    def _there_are_so_many_snapshots(self) -> Self:
        if self.average_snapshots > self.epochs:
            raise ValueError(
                f"average_snapshots: is {self.average_snapshots}, and there are {self.epochs} "
                f"epochs; lower it, or raise epochs"
            )
        return self


class LinearHead(GradientHead):
    """One affine layer, as an MLP without hidden layers."""

    kind: Literal["linear"] = "linear"
    hidden: ClassVar[list[int]] = []
    activation: ClassVar[str] = "relu"


Width = Annotated[PositiveInt, at_most(1 << 20, "no memory holds such a layer")]


class MLPHead(GradientHead):
    """hidden: the widths of the layers between features and scores."""

    kind: Literal["mlp"] = "mlp"
    hidden: list[Width] = Field(default=[1024], min_length=1)
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    weight_decay: NotNegative = 0.001
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5


class LogisticRegressionHead(WeightedHead):
    """Logistic regression of scikit-learn. c: inverse L2 strengths; tune chooses."""

    kind: Literal["logistic_regression"] = "logistic_regression"
    c: list[Positive] = Field(default=[0.0001, 0.001, 0.01], min_length=1)
    max_iterations: PositiveInt = 1000


class NearestNeighborsHead(HeadSection):
    """k votes by cosine similarity, weighted by exp(similarity / temperature); tune chooses."""

    kind: Literal["nearest_neighbors"] = "nearest_neighbors"
    k: list[PositiveInt] = Field(default=[10, 20, 50, 100, 200], min_length=1)
    temperature: list[Positive] = Field(default=[0.07, 0.2], min_length=1)


class RidgeHead(WeightedHead):
    """strengths: L2, on the sum over images as scikit-learn's `alpha`; tune chooses."""

    kind: Literal["ridge"] = "ridge"
    strengths: list[Positive] = Field(
        default=[1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000], min_length=1
    )


class LDAHead(WeightedHead):
    """shrinkages: of the covariance towards a multiple of one; tune chooses."""

    kind: Literal["lda"] = "lda"
    shrinkages: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=[0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], min_length=1
    )


class SweepHead(Section):
    """Many variants of one head, trained at once; tune chooses.

    over: the values of each key of `head`; all their combinations are tried, or `sample` of them,
    drawn at random by `seed`.
    """

    kind: Literal["sweep"] = "sweep"
    head: Annotated[LinearHead | MLPHead, Discriminator("kind")] = LinearHead()
    over: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default={
            "learning_rate": [0.0003, 0.001, 0.003, 0.01],
            "learning_rate_decay": [0.8, 0.9],
            "weight_decay": [0, 0.01, 0.03],
            "label_smoothing": [0, 0.1],
        },
        min_length=1,
    )
    sample: PositiveInt | None = None
    seed: Seed = 0

    @property
    def standardize(self) -> bool:
        return self.head.standardize

    @property
    def train_views(self) -> Literal["whole", "all"]:
        return self.head.train_views

    @model_validator(mode="after")
    def _points_are_heads(self) -> Self:
        # These decide what all variants see.
        fixed = {"kind", "standardize", "train_views"}
        swept = type(self.head).model_fields.keys() - fixed
        if self.points > MAX_POINTS:
            raise ValueError(
                f"over: {self.points:,} combinations; at most {MAX_POINTS:,}, because each is a "
                f"model: name fewer values, or draw some with `sample`"
            )
        for key, values in self.over.items():
            if key not in swept:
                raise ValueError(f"over: can't vary '{key}'; {did_you_mean(key, swept)}")
            for value in values:
                try:
                    self.variant({key: value})
                except ValidationError as error:
                    why = error.errors()[0]["msg"]
                    raise ValueError(f"over: {key} can't be {value}: {why}") from None
        return self

    @property
    def points(self) -> int:
        """How many models are tried."""
        combinations = prod(map(len, self.over.values()))
        return min(combinations, self.sample or combinations)

    def variant(self, settings: dict[str, Any]) -> LinearHead | MLPHead:
        """`head` with some keys changed."""
        return type(self.head).model_validate(self.head.model_dump() | settings)


Head = Annotated[
    LinearHead
    | MLPHead
    | LogisticRegressionHead
    | NearestNeighborsHead
    | RidgeHead
    | LDAHead
    | SweepHead,
    Discriminator("kind"),
]


class TrainHead(Section):
    """memory_limit: features above it, as `4GB`, are streamed from their file. null: none."""

    heads: list[Alias]
    device: Device = "auto"
    memory_limit: ByteSize | None = None
