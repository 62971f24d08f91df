"""params.yaml as one validated model: a typo is found here, in a second, not after hours of work.

Every stage validates the whole file before it does anything. A section bears the name of its
stage; `zoo` and `heads` are tables of short aliases that `extract.backbones` and
`train_head.heads` choose from.
"""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
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
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
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
    """The official layout, as a folder or a .zip; downloaded into `path` where it is a folder without it."""

    name: Literal["tiny_imagenet"]
    path: Path


class ImageFolder(Section):
    """`train/<class>/*` with optional `val` and `test`, or one folder of classes."""

    name: Literal["image_folder"]
    path: Path
    val_fraction: Fraction = 0.2
    seed: int = 0


class Prepare(Section):
    """tune_fraction: of each class's training images. max_pixels: an image with more is bad input."""

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
    """augmented_views: random training views of each training image, beside the whole one."""

    backbones: list[Alias]
    ten_crop: bool
    augmented_views: Annotated[int, Field(ge=0)]
    dtype: Literal["float16", "float32"]
    batch_size: PositiveInt
    device: Literal["auto", "cpu", "cuda"]


class LinearHead(Section):
    """One affine layer, softmax cross-entropy with label smoothing, Adam (Milani, sections 3.1 and 4.2)."""

    kind: Literal["linear"]
    learning_rate: Annotated[float, Field(gt=0)]
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    epochs: PositiveInt
    batch_size: PositiveInt
    standardize: bool
    seed: int


Head = LinearHead


class TrainHead(Section):
    heads: list[Alias]


class Evaluate(Section):
    """confidence: of the bootstrap intervals. resamples: how many bootstrap samples they rest on."""

    confidence: Fraction
    resamples: Annotated[int, Field(ge=100)]
    seed: int


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
    evaluate: Evaluate
    tsne: TSNE

    @model_validator(mode="after")
    def _aliases_exist(self) -> Self:
        for key, chosen, table, name in (
            ("extract.backbones", self.extract.backbones, self.zoo, "zoo"),
            ("train_head.heads", self.train_head.heads, self.heads, "heads"),
        ):
            for alias in chosen:
                if alias not in table:
                    raise ValueError(
                        f"{key}: {name} has no '{alias}'; {did_you_mean(alias, table)}"
                    )
            if len(set(chosen)) < len(chosen):
                raise ValueError(f"{key}: an alias stands there twice; name each once")
        return self

    @property
    def runs(self) -> list[str]:
        """The names of the active runs, in the order of params.yaml; as dvc.yaml composes them."""
        return [f"{b}-{h}" for b in self.extract.backbones for h in self.train_head.heads]


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
