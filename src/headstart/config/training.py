"""Sections of train_scratch and finetune: recipes, networks, and what to train."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ByteSize, Discriminator, Field, PositiveInt, model_validator

from headstart.config.backbones import check_architecture
from headstart.config.section import (
    Alias,
    BatchSize,
    ClassWeights,
    Device,
    DropoutRates,
    Epochs,
    Fraction,
    NotNegative,
    Positive,
    Probability,
    Processes,
    Range,
    Section,
    Seed,
    at_most,
)


class SGD(Section):
    """With Nesterov's momentum. weight_decay: as an L2 term, as in Adam and RMSProp below."""

    name: Literal["sgd"]
    learning_rate: Positive
    momentum: Probability = 0.9
    weight_decay: NotNegative = 0.0


class RMSProp(Section):
    """Equations 2 and 3 of the tailored-networks paper, as TensorFlow computes them.

    M = decay * M + (1 - decay) * g**2 and w -= learning_rate * g / sqrt(M + epsilon), where M
    starts at 1. torch's RMSprop has g / (sqrt(M) + epsilon) with M from 0 on, which for small
    gradients and an epsilon of 1 is another optimizer.
    """

    name: Literal["rmsprop"]
    learning_rate: Positive
    decay: Fraction = 0.9
    epsilon: Positive = 1.0
    weight_decay: NotNegative = 0.0


class Adam(Section):
    name: Literal["adam"]
    learning_rate: Positive
    weight_decay: NotNegative = 0.0


class AdamW(Section):
    """weight_decay: decoupled, times the learning rate at every step."""

    name: Literal["adamw"]
    learning_rate: Positive
    weight_decay: NotNegative


Optimizer = SGD | RMSProp | Adam | AdamW


class ExponentialDecay(Section):
    """Times `factor` every so many epochs or steps.

    staircase: whether the rate is constant between them; otherwise it falls at every step.
    """

    name: Literal["exponential"]
    factor: Annotated[float, Field(gt=0, le=1)]
    every: PositiveInt = 1
    unit: Literal["epoch", "step"] = "epoch"
    staircase: bool = False


class PlateauDecay(Section):
    """Times `factor` after more than `patience` epochs without a better tune accuracy."""

    name: Literal["plateau"]
    factor: Fraction = 0.1
    patience: Annotated[int, Field(ge=0)]


class Cosine(Section):
    """From the learning rate to zero, after a linear rise from zero."""

    name: Literal["cosine"]
    warmup_epochs: NotNegative


Schedule = ExponentialDecay | PlateauDecay | Cosine


class Augmentation(Section):
    """What happens to training images, on the device, each image for itself.

    probability: that each of the following is applied to an image. translation: at most, of the
    side. rotation: at most, in degrees. brightness: added at most, to pixels in [0, 1]. contrast,
    gamma: ranges. flip: the probability of mirroring.
    """

    flip: Probability = 0.0
    probability: Probability = 0.5
    translation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    brightness: Probability = 0.0
    contrast: Range = (1.0, 1.0)
    gamma: Range = (1.0, 1.0)


class Recipe(Section):
    """How a network is trained end to end.

    accumulate: parts that a batch is cut into where it doesn't fit the memory. clip_norm: of the
    whole gradient. ema: decay a step of the averaged weights that are then evaluated and kept.
    mixup, cutmix: alpha of the Beta distribution; 0 is off, with both on a batch gets one of them.
    dropout: rates of all dropout layers in the first and in the last epoch, linear between them;
    null: those of the network, constant. snapshot_steps: steps between evaluations on tune within
    an epoch, each of which may leave a snapshot; null: only the one after each epoch.
    patience: epochs without a better tune accuracy after which training stops; null: all epochs.
    layer_decay: factor on the learning rate for each layer further from the classifier.
    class_weights: of the images in the loss; none gives every image the same, balanced every class.
    """

    epochs: Epochs
    batch_size: Annotated[BatchSize, Field(ge=2)]
    accumulate: PositiveInt = 1
    optimizer: Annotated[Optimizer, Discriminator("name")]
    schedule: Annotated[Schedule, Discriminator("name")]
    initialization: Literal["torch", "xavier", "variance_scaling"] = "torch"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: ClassWeights = "none"
    clip_norm: Positive | None = None
    ema: Fraction | None = None
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    dropout: DropoutRates | None = None
    snapshot_steps: PositiveInt | None = None
    patience: PositiveInt | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    augmentation: Augmentation = Augmentation()
    seed: Seed = 0


class Finetune(Section):
    """head: alias of the trained head that each backbone starts from. crop: as in Network.

    trainable_from: the module from which on the network is trained, as `headstart layers` names it.
    trainable_only: the only modules that are trained. With neither, the whole network is trained.
    With one of them, the activations before the trained modules are computed once: for the whole
    view of each image and for `augmented_views` random views of each training image.
    trunk_limit: bytes on disk that these activations may take.
    """

    renamed: ClassVar = {"launch": "processes", "frozen_layers": "trainable_from"}

    backbones: list[Alias]
    head: Alias
    recipe: Alias
    trainable_from: str | None = None
    trainable_only: list[str] = Field(default=[])
    augmented_views: Annotated[int, Field(ge=0), at_most(1000, "each multiplies the time")] = 0
    trunk_limit: ByteSize = ByteSize(20_000_000_000)
    crop: Annotated[float, Field(gt=0, le=1)]
    device: Device
    processes: Processes

    @model_validator(mode="after")
    def _one_way_to_name_the_trained_part(self) -> Self:
        if self.trainable_from and self.trainable_only:
            raise ValueError("trainable_only: trainable_from is given too; keep one of them")
        if self.has_trunk and self.crop < 1:
            raise ValueError(
                "crop: must be 1.0 where only a part of the network is trained, because that part "
                "sees cached views instead of random crops"
            )
        return self

    @property
    def has_trunk(self) -> bool:
        """Whether a part of the network stays as it is, so that its activations are cached."""
        return bool(self.trainable_from or self.trainable_only)


class Network(Section):
    """A network of the papers, or `timm` for one of timm's, and how it is trained.

    input_size: side in px that the network sees. crop: side of the square cut out for it, over the
    image's; random in training, central otherwise. arguments: of its constructor; timm's takes
    `architecture` and that one's own. trunk: alias in zoo whose weights resnet_lstm's trunk starts
    with; null: random ones. first_recipe: of a phase before, in which the trunk stays as it is.
    normalization: what is done to pixels in [0, 1], with the statistics of train's images:
    mean_and_std subtracts the mean of each channel and divides by its standard deviation, mean only
    subtracts. recorded_outputs: names of modules whose outputs' distribution is recorded.
    """

    renamed: ClassVar = {"size": "input_size"}

    network: Literal[
        "mini_inception",
        "no_attention",
        "attention_simple",
        "attention_reduction",
        "no_attention_extra",
        "modified_resnet10",
        "modified_resnet18",
        "inception_resnet",
        "vgg16",
        "vgg19",
        "resnet_lstm",
        "timm",
    ]
    recipe: Alias
    input_size: Annotated[int, Field(ge=32)]
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    arguments: dict[str, Any] = Field(default={})
    trunk: Alias | None = None
    first_recipe: Alias | None = None
    normalization: Literal["mean_and_std", "mean"] = "mean_and_std"
    recorded_outputs: list[str] = Field(default=[])

    @model_validator(mode="after")
    def _has_a_trunk(self) -> Self:
        if self.trunk and self.network != "resnet_lstm":
            raise ValueError(f"trunk: {self.network} has none to load; only resnet_lstm has")
        if self.first_recipe and not self.trunk:
            raise ValueError("first_recipe: it keeps the trunk as it is; name a trunk, or drop it")
        if self.trunk and self.normalization == "mean":
            raise ValueError("normalization: a trunk brings its own; leave the key out")
        return self

    @model_validator(mode="after")
    def _timm_has_the_architecture(self) -> Self:
        if self.network == "timm":
            if "architecture" not in self.arguments:
                raise ValueError("arguments: timm's networks want an architecture")
            check_architecture(str(self.arguments["architecture"]))
        return self


Study = Annotated[list[str], Field(min_length=2)]
"""Names of runs whose training curves stand in one figure, as far as the runs are active."""


class Sheets(Section):
    """recipe: whose augmentation is shown on one image."""

    recipe: Alias


class TrainScratch(Section):
    """snapshots: kept and predicted with at most, the newest of those best so far on tune.

    A recipe's `snapshot_steps` says how often there may be one.
    """

    renamed: ClassVar = {"launch": "processes"}

    networks: list[Alias]
    snapshots: Annotated[PositiveInt, at_most(1000, "each is a file of all weights")]
    device: Device
    processes: Processes
