"""What every section of params.yaml is made of."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from headstart.errors import did_you_mean


def _wants(count: int, meaning: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) == count:
            return value
        raise ValueError(f"wants {meaning}")

    return BeforeValidator(check)


Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[Positive, Positive], _wants(2, "two numbers, the least and the greatest")]
_of_channels = _wants(3, "three numbers, one for each channel: red, green and blue")
Channels = Annotated[tuple[float, float, float], _of_channels]
PositiveChannels = Annotated[tuple[Positive, Positive, Positive], _of_channels]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]
Device = Literal["auto", "cpu", "cuda"]
Processes = Annotated[int, Field(ge=1, le=256)]
"""How many processes a stage starts on this host; one for each GPU."""


class Section(BaseModel):
    """A part of params.yaml: no other keys than its fields, and finite numbers alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    renamed: ClassVar[dict[str, str]] = {}
    """What keys were called before, and what they are called now."""

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, content: Any) -> Any:
        known = cls.model_fields
        for key in content if isinstance(content, dict) else ():
            if key in cls.renamed:
                raise ValueError(f"'{key}' is called '{cls.renamed[key]}' now")
            if key not in known:
                raise ValueError(f"unknown key '{key}'; {did_you_mean(str(key), known)}")
        return content
