"""params.yaml as one validated model: a typo is found here, in a second, not after hours of work.

Every stage validates the whole file before it does anything. A section bears the name of its
stage; `zoo` and `heads` are tables of short aliases that `extract.backbones` and
`train_head.heads` choose from.
"""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from headstart.errors import UserError, did_you_mean

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Range = tuple[Positive, Positive]
Channels = tuple[float, float, float]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, content: Any) -> Any:
        known = cls.model_fields
        for key in content if isinstance(content, dict) else ():
            if key not in known:
                raise ValueError(f"unknown key '{key}'; {did_you_mean(str(key), known)}")
        return content


class PhotoPatches(Section):
    """The embedded default: patches of the photographs that ship with two libraries."""

    name: Literal["photo_patches"]
    path: Path


class TinyImageNet(Section):
    """The official layout, as a folder or a .zip; downloaded into a folder that lacks it."""

    name: Literal["tiny_imagenet"]
    path: Path


class ImageFolder(Section):
    """`train/<class>/*` with optional `val` and `test`, or one folder of classes."""

    name: Literal["image_folder"]
    path: Path
    val_fraction: Fraction = 0.2
    seed: int = 0


class Prepare(Section):
    """tune_fraction: of each class's training images. max_pixels: with more, an image is bad."""

    tune_fraction: Fraction
    seed: int
    on_bad_image: Literal["stop", "skip"]
    max_pixels: PositiveInt


class Resize(Section):
    """size: pixels a side. fit: what becomes of an image that is not square."""

    size: PositiveInt
    fit: Literal["crop", "stretch"]


class Backbone(Section):
    """A timm architecture, its weights and what to change of its own preprocessing.

    weights: `hub`, `none` (random, from `seed`) or the path of a .safetensors or timm checkpoint.
    """

    architecture: str
    weights: str
    seed: int = 0
    model_args: dict[str, Any] = {}
    input_size: PositiveInt | None = None
    mean: Channels | None = None
    std: Channels | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None

    @field_validator("architecture")
    @classmethod
    def _architecture_exists(cls, architecture: str) -> str:
        known = timm_architectures()
        if architecture.partition(".")[0] not in known:
            raise ValueError(f"timm has no '{architecture}'; {did_you_mean(architecture, known)}")
        return architecture

    @field_validator("weights")
    @classmethod
    def _weights_file_exists(cls, weights: str) -> str:
        if weights not in ("hub", "none") and not Path(weights).is_file():
            raise ValueError(f"no file '{weights}'; give hub, none, or a weights file's path")
        return weights


class Extract(Section):
    """augmented_views: random training views of each training image, beside the whole one.

    launch: the command that starts the stage's processes; dvc.yaml puts it before `-m`.
    """

    backbones: list[Alias]
    launch: Annotated[str, StringConstraints(pattern=r"^(python|torchrun\b.*)$")]
    ten_crop: bool
    augmented_views: Annotated[int, Field(ge=0)]
    dtype: Literal["float16", "float32"]
    batch_size: PositiveInt
    device: Literal["auto", "cpu", "cuda"]


class HeadSection(Section):
    """What all heads have to say.

    standardize: features to mean 0 and variance 1 over train. train_views: whether augmented views
    of train are learnt from, where there are any.
    """

    standardize: bool
    train_views: Literal["whole", "all"] = "all"


class WeightedHead(HeadSection):
    """class_weights: whether every image counts the same, or every class."""

    class_weights: Literal["none", "balanced"] = "none"


class GradientHead(WeightedHead):
    """Label smoothing, Adam, an exponential decay (Milani, sections 3.1 and 4.2).

    learning_rate_decay: its factor at every epoch. weight_decay: L2 strength, the loss's term
    weight_decay * sum(weight ** 2) / 2. dropout: of every layer's input.
    """

    learning_rate: Positive
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)]
    weight_decay: NotNegative
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    epochs: PositiveInt
    batch_size: PositiveInt
    seed: Annotated[int, Field(ge=0)]


class LinearHead(GradientHead):
    """One affine layer: an MLP without hidden ones."""

    kind: Literal["linear"]
    hidden: ClassVar[list[int]] = []
    activation: ClassVar[str] = "relu"


class MLPHead(GradientHead):
    """hidden: the widths of the layers between features and scores."""

    kind: Literal["mlp"]
    hidden: Annotated[list[PositiveInt], Field(min_length=1)]
    activation: Literal["relu", "tanh", "gelu"] = "relu"


class LogisticRegressionHead(WeightedHead):
    """scikit-learn's. c: inverse L2 strengths; tune chooses."""

    kind: Literal["logistic_regression"]
    c: Annotated[list[Positive], Field(min_length=1)]
    max_iterations: PositiveInt = 1000


class NearestNeighboursHead(HeadSection):
    """k votes by cosine similarity, weighted by exp(similarity / temperature); tune chooses."""

    kind: Literal["nearest_neighbours"]
    k: Annotated[list[PositiveInt], Field(min_length=1)]
    temperature: Annotated[list[Positive], Field(min_length=1)]


class RidgeHead(WeightedHead):
    """strengths: L2, on the sum over images as scikit-learn's `alpha`; tune chooses."""

    kind: Literal["ridge"]
    strengths: Annotated[list[Positive], Field(min_length=1)]


class LDAHead(WeightedHead):
    """shrinkages: of the covariance towards a multiple of one; tune chooses."""

    kind: Literal["lda"]
    shrinkages: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]


class SweepHead(Section):
    """Many variants of one head, trained at once; tune chooses.

    over: the values of each key of `head`; all their combinations are tried, or `sample` of them,
    drawn at random by `seed`.
    """

    kind: Literal["sweep"]
    head: Annotated[LinearHead | MLPHead, Discriminator("kind")]
    over: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]
    sample: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0)] = 0

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

    def variant(self, settings: dict[str, Any]) -> LinearHead | MLPHead:
        """`head` with some keys changed."""
        return type(self.head).model_validate(self.head.model_dump() | settings)


Head = Annotated[
    LinearHead
    | MLPHead
    | LogisticRegressionHead
    | NearestNeighboursHead
    | RidgeHead
    | LDAHead
    | SweepHead,
    Discriminator("kind"),
]


class TrainHead(Section):
    """memory_limit: features above it, as `4GB`, are streamed from their file. null: none."""

    heads: list[Alias]
    device: Literal["auto", "cpu", "cuda"] = "auto"
    memory_limit: ByteSize | None = None


class SGD(Section):
    """With Nesterov's momentum. weight_decay: as an L2 term, as in Adam and RMSProp below."""

    name: Literal["sgd"]
    learning_rate: Positive
    momentum: Probability = 0.9
    weight_decay: NotNegative = 0.0


class RMSProp(Section):
    """Equations 2 and 3 of the tailored-networks paper."""

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


Optimiser = SGD | RMSProp | Adam | AdamW


class ExponentialDecay(Section):
    """Times `factor` every so many epochs or steps, continuously between them."""

    name: Literal["exponential"]
    factor: Annotated[float, Field(gt=0, le=1)]
    every: PositiveInt = 1
    unit: Literal["epoch", "step"] = "epoch"


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
    patience: epochs without a better tune accuracy after which training stops; null: all epochs.
    layer_decay: factor on the learning rate for each layer further from the classifier.
    """

    epochs: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    accumulate: PositiveInt = 1
    optimiser: Annotated[Optimiser, Discriminator("name")]
    schedule: Annotated[Schedule, Discriminator("name")]
    initialisation: Literal["torch", "xavier", "variance_scaling"] = "torch"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip_norm: Positive | None = None
    ema: Fraction | None = None
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    patience: PositiveInt | None = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    augmentation: Augmentation = Augmentation()
    seed: Annotated[int, Field(ge=0)] = 0


class Finetune(Section):
    """head: alias of the trained head that each backbone starts from. frozen_layers: how many
    don't learn, from the input on, as timm counts layers. crop: as in Network.
    """

    backbones: list[Alias]
    head: Alias
    recipe: Alias
    frozen_layers: Annotated[int, Field(ge=0)]
    crop: Annotated[float, Field(gt=0, le=1)]
    device: Literal["auto", "cpu", "cuda"]


class Network(Section):
    """A network of the papers and how it is trained.

    size: side in px that the network sees. crop: side of the square cut out for it, over the
    image's; random in training, central otherwise. arguments: of its constructor.
    """

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
    ]
    recipe: Alias
    size: Annotated[int, Field(ge=32)]
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    arguments: dict[str, Any] = {}


class TrainScratch(Section):
    """snapshots: kept and predicted with at most, one an epoch that was best so far on tune."""

    networks: list[Alias]
    snapshots: PositiveInt
    device: Literal["auto", "cpu", "cuda"]


class Evaluate(Section):
    """confidence: of the bootstrap intervals. resamples: how many samples they rest on.

    coverage: how often a conformal prediction set shall hold the label.
    """

    confidence: Fraction
    coverage: Fraction
    resamples: Annotated[int, Field(ge=100)]
    seed: int


class EnsembleOf(Section):
    """members: names of runs. choose: all of them, or the best N in a ranked or greedy order."""

    members: Annotated[list[str], Field(min_length=2)]
    average: Literal["probabilities", "logits"] = "probabilities"
    choose: Literal["all", "ranked", "greedy"] = "all"


class Ensemble(Section):
    ensembles: list[Alias]


class TSNE(Section):
    """classes: ids or names of the classes to draw; an empty list means all."""

    split: Literal["train", "tune", "val"]
    classes: list[str]
    images_per_class: PositiveInt
    perplexity: Annotated[float, Field(gt=1)]
    seed: int


class Params(Section):
    dataset: Annotated[PhotoPatches | TinyImageNet | ImageFolder, Discriminator("name")]
    prepare: Prepare
    resize: Resize
    zoo: dict[Alias, Backbone]
    extract: Extract
    heads: dict[Alias, Head]
    train_head: TrainHead
    recipes: dict[Alias, Recipe]
    networks: dict[Alias, Network]
    train_scratch: TrainScratch
    finetune: Finetune
    ensembles: dict[Alias, EnsembleOf]
    ensemble: Ensemble
    evaluate: Evaluate
    tsne: TSNE

    @model_validator(mode="after")
    def _aliases_exist(self) -> Self:
        for key, chosen, table, name in (
            ("extract.backbones", self.extract.backbones, self.zoo, "zoo"),
            ("train_head.heads", self.train_head.heads, self.heads, "heads"),
            ("train_scratch.networks", self.train_scratch.networks, self.networks, "networks"),
            ("finetune.backbones", self.finetune.backbones, self.zoo, "zoo"),
            ("finetune.head", [self.finetune.head], self.heads, "heads"),
            ("finetune.recipe", [self.finetune.recipe], self.recipes, "recipes"),
            *(
                (f"networks.{alias}.recipe", [network.recipe], self.recipes, "recipes")
                for alias, network in self.networks.items()
            ),
            ("ensemble.ensembles", self.ensemble.ensembles, self.ensembles, "ensembles"),
        ):
            for alias in chosen:
                if alias not in table:
                    raise ValueError(
                        f"{key}: {name} has no '{alias}'; {did_you_mean(alias, table)}"
                    )
            if len(set(chosen)) < len(chosen):
                raise ValueError(f"{key}: an alias stands there twice; name each once")
        return self

    @model_validator(mode="after")
    def _ensembles_are_of_active_runs(self) -> Self:
        for name in self.ensemble.ensembles:
            members = self.ensembles[name].members
            for member in members:
                if member not in self.single_runs:
                    near = did_you_mean(member, self.single_runs)
                    raise ValueError(f"ensembles.{name}: no run '{member}' is active; {near}")
            if len(set(members)) < len(members):
                raise ValueError(f"ensembles.{name}: a member stands there twice; name each once")
        return self

    @property
    def single_runs(self) -> list[str]:
        """The names of the active runs but for ensembles, as dvc.yaml composes them."""
        return [
            *(f"{b}-{h}" for b in self.extract.backbones for h in self.train_head.heads),
            *(f"{backbone}-finetune" for backbone in self.finetune.backbones),
            *self.train_scratch.networks,
        ]

    @property
    def runs(self) -> list[str]:
        """The names of all active runs, in the order of params.yaml, ensembles last."""
        return [*self.single_runs, *self.ensemble.ensembles]


def load(path: Path = Path("params.yaml")) -> Params:
    """params.yaml, validated as a whole.

    Raises:
        UserError: the file is missing or not YAML, or a key or value in it is wrong; one line each.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the project's root") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        lines = [_line(content, problem) for problem in error.errors()]
        raise UserError("\n".join(f"{path}: {line}" for line in lines)) from None


def _line(content: Any, problem: ErrorDetails) -> str:
    """One problem as `key.by.key: what is wrong and what would be right`."""
    keys = []
    for key in problem["loc"]:
        # pydantic also names the member of a union that it tried; the file has no such key.
        if isinstance(content, dict) and key in content:
            keys.append(str(key))
            content = content[key]
        elif isinstance(content, list):
            keys.append(str(key))
    context = problem.get("ctx", {})
    match problem["type"]:
        case "missing":
            keys.append(str(problem["loc"][-1]))
            message = "is missing"
        case "union_tag_invalid":
            field = context["discriminator"].strip("'")
            keys.append(field)
            valid = re.findall(r"'(\w+)'", context["expected_tags"])
            message = f"unknown {field} '{context['tag']}'; {did_you_mean(context['tag'], valid)}"
        case "literal_error":
            valid = re.findall(r"'(\w+)'", context["expected"])
            message = f"can't be '{problem['input']}'; {did_you_mean(str(problem['input']), valid)}"
        case _:
            message = problem["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, [".".join(keys), message]))


@cache
def timm_architectures() -> frozenset[str]:
    """The names that timm registers, read from its source: importing timm takes many seconds."""
    spec = find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    registered = re.compile(r"^@register_model\ndef (\w+)\(", re.MULTILINE)
    sources = Path(spec.origin).parent.joinpath("models").glob("*.py")
    return frozenset(
        name for source in sources for name in registered.findall(source.read_text("utf-8"))
    )
