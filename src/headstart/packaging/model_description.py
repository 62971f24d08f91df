"""model.json: everything about a model except its weights, which lie beside it as safetensors.

A model has one member, or several that it averages (an ensemble). This module doesn't import torch.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveInt, StringConstraints, ValidationError

from headstart.config import Section
from headstart.config.section import Fraction, Percent, Positive, Probability
from headstart.core.atomic_files import write_text
from headstart.core.errors import UserError
from headstart.core.file_digests import file_sha256
from headstart.store.examples import ClassLabel

DESCRIPTION_FILE = "model.json"

FORMAT = 1
"""Increase it when a change of this module makes older files unreadable or gives them another
meaning."""


WeightsFile = Annotated[str, StringConstraints(pattern=r"^[\w-]+(/[\w-]+)*\.safetensors$")]
"""A path inside of the folder; none that leads out of it."""


class ImageRule(Section):
    """How an image becomes the square that the model takes.

    The central square of the image is cut out (fit: crop), or all of it is used (stretch), and
    scaled to `side` x `side` px by Pillow's bilinear filter. max_pixels: limit on an image's size.
    """

    side: PositiveInt
    fit: Literal["crop", "stretch"]
    max_pixels: PositiveInt


class ConformalSets(Section):
    """A set holds the classes whose probability, before temperature scaling, is `threshold` or
    more; it contains the true class of new images with probability `coverage`."""

    coverage: Fraction
    threshold: Probability


class PackagedBackbone(Section):
    """A backbone whose weights are not in the folder.

    entry: as in the zoo of params.yaml; a weights file has its `sha256`. weights: digest of the
    loaded network's weights (`core.weight_digests`).
    """

    entry: dict[str, Any]
    weights: str


class PackagedFile(Section):
    """A file in the folder and its digest."""

    file: WeightsFile
    sha256: str


class HeadMember(Section):
    """A head on the features of backbones, which are concatenated in alphabetical order.

    name: the run's. file: of the head, relative to the folder, and its sha256. dtype: that the
    features are cast to. familiarity: of new images, by these features.
    """

    kind: Literal["head"]
    name: str
    file: WeightsFile
    sha256: str
    backbones: Annotated[dict[str, PackagedBackbone], Field(min_length=1)]
    dtype: Literal["float16", "float32"]
    familiarity: PackagedFile | None = None


class NetworkMember(Section):
    """A network that was trained end to end.

    identity: what builds it, as `training_jobs.TrainingJob` describes it. input: the content of
    `image_transforms.InputSpec`. The others are those of HeadMember.
    """

    kind: Literal["network"]
    name: str
    file: WeightsFile
    sha256: str
    identity: dict[str, Any]
    input: dict[str, Any]
    familiarity: PackagedFile | None = None


Member = Annotated[HeadMember | NetworkMember, Discriminator("kind")]


class PackagedClass(Section):
    id: str
    name: str


class ModelDescription(Section):
    """The content of model.json.

    views: of each image, by name (`store.views`); their probabilities are averaged. average: what
    is averaged over members. temperature: divides the logarithms of the averaged probabilities.
    reject: images that are less familiar than this percentile of tune's are of an unknown class.
    images: the number of each split. evaluation: of the run on val, as in metrics.json. commit: the
    last one that changed the project's code or params.yaml; None without git. uncommitted_changes:
    whether these were edited since. params: the settings in params.yaml that the run rests on.
    """

    format: Literal[1] = FORMAT
    name: str
    classes: Annotated[list[PackagedClass], Field(min_length=2)]
    image: ImageRule
    views: Annotated[list[str], Field(min_length=1)]
    average: Literal["probabilities", "logits"] = "probabilities"
    temperature: Positive
    conformal: ConformalSets
    reject: Percent = 0.0
    members: Annotated[list[Member], Field(min_length=1)]
    images: dict[str, int]
    evaluation: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    uncommitted_changes: bool
    params: dict[str, Any]

    @property
    def labels(self) -> list[ClassLabel]:
        """The classes, in the order of the logits."""
        return [ClassLabel(label.id, label.name) for label in self.classes]

    @property
    def protocol(self) -> str:
        """The name of the views in metrics.json: `whole` or `ten_crop`."""
        return "whole" if len(self.views) == 1 else "ten_crop"


def save_description(folder: Path, description: ModelDescription) -> None:
    """Writes model.json to `folder`; raises what `atomic_path` raises."""
    text = json.dumps(description.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_text(folder / DESCRIPTION_FILE, text + "\n")


def load_description(folder: Path) -> ModelDescription:
    """Reads model.json in `folder`, and checks that the files beside it are those it describes.

    Raises:
        UserError: there is no model, it is damaged or of another version, or a file is missing.
    """
    path = folder / DESCRIPTION_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, int) and found != FORMAT:
            writer = content.get("versions", {}).get("headstart", "another version")
            raise UserError(
                f"{folder} holds a model of format {found}, written by headstart {writer}, and "
                f"this version reads format {FORMAT}; install that version, or run `dvc repro` in "
                f"the project with this one"
            )
        description = ModelDescription.model_validate(content)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder} holds no model ({DESCRIPTION_FILE} is missing); name a folder that `dvc "
            f"repro` made, …/data/models/<run>"
        ) from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(
            f"{path} is damaged (at {key or 'its top'}); copy the folder again"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise UserError(f"{path} is damaged (it is not JSON); copy the folder again") from None
    for member in description.members:
        _check_file(folder / member.file, member.sha256)
        if member.familiarity:
            _check_file(folder / member.familiarity.file, member.familiarity.sha256)
    return description


def _check_file(path: Path, sha256: str) -> None:
    try:
        digest = file_sha256(path)
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing (its sha256 is {sha256}); copy the folder again"
        ) from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None
    if digest != sha256:
        raise UserError(
            f"{path} is damaged: its sha256 is {digest}, and model.json says {sha256}; copy the "
            f"folder again"
        )
