"""Sections of extract: the zoo of backbones, and what is extracted."""

import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from headstart.config.section import (
    Alias,
    BatchSize,
    Channels,
    Device,
    Pixels,
    PositiveChannels,
    Processes,
    Section,
    Seed,
    at_most,
)
from headstart.core.errors import did_you_mean

Pooling = Literal["avg", "max", "cls", "none"]
"""From a layer's output to one vector per image: see `backbones.layers.LayerOutputs`."""

PACKAGE = Path(__file__).parents[1]
BUNDLED = PACKAGE / "backbones" / "bundled_weights"
"""The folder of the weights that come with the project, <architecture>.safetensors."""


class LayerChoice(Section):
    """Where a network's features are taken from.

    layers: names of modules, whose pooled outputs are the features, side by side and in one pass;
    None takes the network's own output. pooling: of these outputs; None is `avg`.
    """

    layers: Annotated[list[str], Field(min_length=1)] | None = None
    pooling: Pooling | None = None

    @model_validator(mode="after")
    def _layers_are_distinct_and_have_a_pooling(self) -> Self:
        layers = self.layers or []
        if len(set(layers)) < len(layers):
            raise ValueError("layers: a module stands there twice; name each once")
        if self.pooling is not None and not layers:
            raise ValueError(
                "pooling: is that of `layers`, and there are none; name layers, or set how the "
                "network pools in model_args (for most of timm's, {global_pool: max})"
            )
        return self


class Backbone(LayerChoice):
    """An architecture of timm (or `pixels`), its weights, and changes of its preprocessing.

    weights: `hub`, `bundled` (with the project), `none` (random, from `seed`) or the path of a
    .safetensors or timm checkpoint. sha256: of that file, so that a changed file is an error.
    precision: of the computation in `extract`; bfloat16 and int8 are faster than float32 and
    slightly less accurate. layers, pooling: as `LayerChoice` has them.
    """

    architecture: str
    weights: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    seed: Seed = 0
    model_args: dict[str, Any] = Field(default={})
    input_size: Pixels | None = None
    mean: Channels | None = None
    std: PositiveChannels | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    precision: Literal["float32", "bfloat16", "int8"] = "float32"

    @field_validator("architecture")
    @classmethod
    def _architecture_exists(cls, architecture: str) -> str:
        check_architecture(architecture)
        return architecture

    @model_validator(mode="after")
    def _weights_file_exists(self) -> Self:
        file = self.weights_file
        if file is None or file.is_file():
            return self
        if self.weights == "bundled":
            there = ", ".join(sorted(path.stem for path in BUNDLED.glob("*.safetensors")))
            raise ValueError(f"{self.architecture} has no bundled weights; there are: {there}")
        raise ValueError(
            f"no weights file '{self.weights}'; give hub, bundled, none, or a weights file's path"
        )

    @property
    def weights_file(self) -> Path | None:
        """The file that the weights are read from; None for `hub` and `none`."""
        match self.weights:
            case "hub" | "none":
                return None
            case "bundled":
                return BUNDLED / f"{self.architecture}.safetensors"
            case path:
                return Path(path)

    @model_validator(mode="after")
    def _only_a_file_has_a_digest(self) -> Self:
        if self.sha256 is not None and self.weights in ("hub", "none"):
            raise ValueError(f"sha256 is a weights file's, and `weights` is {self.weights}")
        return self


class Concatenation(Section):
    """Several backbones of the zoo whose features are concatenated."""

    concatenate: Annotated[list[Alias], Field(min_length=2)]


def _kind(entry: Any) -> str:
    named = isinstance(entry, Concatenation) or (isinstance(entry, dict) and "concatenate" in entry)
    return "concatenation" if named else "backbone"


ZooEntry = Annotated[
    Annotated[Backbone, Tag("backbone")] | Annotated[Concatenation, Tag("concatenation")],
    Discriminator(_kind),
]


class Extract(Section):
    """augmented_views: number of random views of each training image, beside the whole view.
    launch: what starts the processes if there are several.
    """

    backbones: list[Alias]
    processes: Processes
    launch: Literal["torchrun", "ray"] = "torchrun"
    ten_crop: bool
    augmented_views: Annotated[int, Field(ge=0), at_most(1000, "each multiplies the time")]
    dtype: Literal["float16", "float32"]
    batch_size: BatchSize
    device: Device


def check_architecture(name: str) -> None:
    """Raises ValueError, which pydantic reports, if timm has no architecture of that name."""
    known = timm_architectures()
    if name.partition(".")[0] not in known:
        raise ValueError(f"timm has no '{name}'; {did_you_mean(name, known)}")


@cache
def timm_architectures() -> frozenset[str]:
    """Returns the names of the architectures that timm and `raw_pixels` register.

    They are read from the source files, because importing timm takes many seconds.

    Raises:
        ValueError: this Python has no timm.
    """
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        raise ValueError(f"{sys.executable} has no timm; start DVC and stages through `uv run`")
    registered = re.compile(r"^@register_model\ndef (\w+)\(", re.MULTILINE)
    sources = Path(spec.origin).parent.joinpath("models").glob("*.py")
    return frozenset(
        name
        for source in (*sources, PACKAGE / "backbones" / "raw_pixels.py")
        for name in registered.findall(source.read_text("utf-8"))
    )
