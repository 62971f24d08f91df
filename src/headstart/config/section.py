"""The base class of all sections of params.yaml, and types of their values."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from upath import UPath

from headstart.core.errors import did_you_mean


def at_most(limit: int, why: str) -> AfterValidator:
    """Returns a validator of an upper limit, whose message gives the reason `why`."""

    def check(value: int) -> int:
        if value > limit:
            raise ValueError(f"can't be {value:,}; at most {limit:,}, because {why}")
        return value

    return AfterValidator(check)


def _ascending(range_: tuple[float, float]) -> tuple[float, float]:
    low, high = range_
    if low > high:
        raise ValueError(f"[{low:g}, {high:g}] is no range; the smaller number comes first")
    return range_


def _wants(count: int, meaning: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, list | tuple) and len(value) == count:
            return value
        raise ValueError(f"wants {meaning}")

    return BeforeValidator(check)


def _local_or_remote(value: Any) -> Path | UPath:
    if isinstance(value, str) and "://" in value:
        try:
            return UPath(value)
        except ValueError:
            scheme = value.partition("://")[0]
            hint = did_you_mean(scheme, ("s3", "gs", "az", "https", "http", "hdfs", "sftp"))
            raise ValueError(f"unknown file system '{scheme}'; {hint}") from None
    if not isinstance(value, str | Path | UPath):
        raise ValueError("should be a path")
    return value if isinstance(value, UPath) else Path(value)


LocalOrRemotePath = Annotated[Path | UPath, PlainValidator(_local_or_remote)]
"""A path on this machine, or a URL such as `s3://bucket/folder` on a file system of fsspec's."""
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
_of_range = _wants(2, "two numbers, the least and the greatest")
Range = Annotated[tuple[Positive, Positive], AfterValidator(_ascending), _of_range]
_of_rates = _wants(2, "two rates, those of the first and of the last epoch")
_DropoutRate = Annotated[float, Field(ge=0, lt=1)]
DropoutRates = Annotated[tuple[_DropoutRate, _DropoutRate], _of_rates]
ClassWeights = Literal["none", "balanced"]
"""none gives every image the same weight, balanced every class."""
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
"""The range of seeds that numpy, scikit-learn and torch all accept."""
Epochs = Annotated[PositiveInt, at_most(100_000, "nobody waits for more")]
BatchSize = Annotated[PositiveInt, at_most(1 << 20, "no memory holds more at once")]
Pixels = Annotated[PositiveInt, at_most(4096, "no network sees larger images")]
_of_channels = _wants(3, "three numbers, one for each channel: red, green and blue")
Channels = Annotated[tuple[float, float, float], _of_channels]
PositiveChannels = Annotated[tuple[Positive, Positive, Positive], _of_channels]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]
Device = Literal["auto", "cpu", "cuda"]
Processes = Annotated[int, Field(ge=1, le=256)]
"""Number of processes that a stage starts on this host; one per GPU."""


class Section(BaseModel):
    """A part of params.yaml, whose keys are its fields and whose numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    renamed: ClassVar[dict[str, str]] = {}
    """Old names of keys, with their current names."""

    @model_validator(mode="wrap")
    @classmethod
    def _keys_are_known_and_numbers_numbers(
        cls, content: Any, handler: ModelWrapValidatorHandler[Self]
    ) -> Self:
        """Reports unknown keys together with all other problems of the section."""
        if not isinstance(content, dict):
            return handler(content)
        known = cls.model_fields
        problems = [
            _problem(key, f"is called '{cls.renamed[key]}' now")
            if key in cls.renamed
            else _problem(key, f"unknown key; {did_you_mean(str(key), known)}")
            for key in content
            if key not in known
        ]
        try:
            section = handler({key: value for key, value in content.items() if key in known})
        except ValidationError as error:
            if not problems:
                raise
            problems += map(_again, error.errors())
        else:
            # pydantic takes true for 1.
            problems += [
                _problem(key, f"can't be {str(value).lower()}; give a number")
                for key, value in content.items()
                if isinstance(value, bool) and not isinstance(getattr(section, key, value), bool)
            ]
            if not problems:
                return section
        raise ValidationError.from_exception_data(cls.__name__, problems)


def _problem(key: Any, message: str) -> InitErrorDetails:
    custom_error = PydanticCustomError("section", "{message}", {"message": message})
    return InitErrorDetails(type=custom_error, loc=(key,), input=None)


def _again(error: ErrorDetails) -> InitErrorDetails:
    """Converts an error that pydantic reported into one to raise."""
    custom_error = PydanticCustomError(error["type"], error["msg"], error.get("ctx"))  # pyright: ignore[reportArgumentType]
    return InitErrorDetails(type=custom_error, loc=error["loc"], input=error["input"])
