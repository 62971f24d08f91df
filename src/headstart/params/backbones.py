"""Sections of extract: the zoo of backbones, and what is extracted."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, StringConstraints, field_validator

from headstart.errors import did_you_mean
from headstart.params.section import Alias, Channels, Device, Section


class Backbone(Section):
    """A timm architecture, its weights and what to change of its own preprocessing.

    weights: `hub`, `none` (random, from `seed`) or the path of a .safetensors or timm checkpoint.
    precision: what `extract` computes in; less than float32 is faster and not quite the same.
    """

    architecture: str
    weights: str
    seed: int = 0
    model_args: dict[str, Any] = Field(default={})
    input_size: PositiveInt | None = None
    mean: Channels | None = None
    std: Channels | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    precision: Literal["float32", "bfloat16", "int8"] = "float32"

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
    device: Device


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
