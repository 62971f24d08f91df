"""What every section of params.yaml is made of."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from headstart.errors import did_you_mean

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Range = tuple[Positive, Positive]
Channels = tuple[float, float, float]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]
Device = Literal["auto", "cpu", "cuda"]
Launch = Annotated[str, StringConstraints(pattern=r"^(python|torchrun\b.*)$")]
"""The command that starts a stage's processes; dvc.yaml puts it before `-m`."""


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
