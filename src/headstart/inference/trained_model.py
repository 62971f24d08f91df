"""A model folder as a function: square images in, logits and calibrated probabilities out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from headstart.backbones.loading import LoadedBackbone, load_backbone
from headstart.config import Backbone, validate_as
from headstart.core.errors import UserError, first_line
from headstart.evaluation.ensembles import align_members, average_members
from headstart.evaluation.run_results import protocol_probabilities
from headstart.extraction.cached_rows import CachedRows
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.row_filling import Pixels
from headstart.extraction.view_plan import SplitRequest, ViewPlan
from headstart.heads.familiarity import Familiarity, load_familiarity
from headstart.heads.fitted_head import FittedHead, load_head
from headstart.inference.network_runtime import NetworkRuntime
from headstart.metrics.calibration import apply_temperature, prediction_sets
from headstart.packaging.model_description import (
    HeadMember,
    ModelDescription,
    NetworkMember,
    load_description,
)
from headstart.runtime.runtimes import start_runtime
from headstart.store.examples import UNLABELED, Examples
from headstart.store.features import Features, merge_provenances
from headstart.store.predictions import Predictions
from headstart.training.image_transforms import InputSpec
from headstart.training.network_features import LogitsAndFeatures
from headstart.training.untrained_networks import build_untrained


@dataclass(frozen=True)
class SquareBatch:
    """N images as the model takes them.

    pixels: of [S, S, 3] uint8 each. digests: [N, 32] uint8, of these pixels.
    """

    pixels: Pixels
    digests: np.ndarray

    def request(self, ten_crop: bool) -> SplitRequest:
        """Returns what asks extraction for all of these images, in one view or ten crops."""
        views = ViewPlan(ten_crop, augmented_views=0).views("val")
        return SplitRequest(np.arange(len(self.digests)), self.digests, views)


class MemberOutputs(NamedTuple):
    """logits: [N, V, C] float32. views: the names of the V views. familiarity: [N] float64 in
    percent; None if the member doesn't know it."""

    logits: np.ndarray
    views: list[str]
    familiarity: np.ndarray | None


class ModelOutputs(NamedTuple):
    """logits: [N, V, C] float32, averaged over the members. familiarity: [N] float64, the mean of
    those members that know it, in percent; None if none does."""

    logits: np.ndarray
    familiarity: np.ndarray | None


class LoadedMember(Protocol):
    """A member of a model, ready to compute."""

    def outputs(self, batch: SquareBatch, cache: Path | None) -> MemberOutputs:
        """Raises UserError where the network gives useless values or the cache can't be written
        to."""
        ...


class LoadedHead:
    """A head with the backbones whose features it takes."""

    def __init__(
        self,
        head: FittedHead,
        rows: Sequence[CachedRows],
        ten_crop: bool,
        familiarity: Familiarity | None,
    ) -> None:
        self.head, self.rows, self.ten_crop = head, rows, ten_crop
        self.familiarity = familiarity
        self.provenance = merge_provenances([part for own in rows for part in own.provenances])

    def outputs(self, batch: SquareBatch, cache: Path | None) -> MemberOutputs:
        request = batch.request(self.ten_crop)
        values = [own(batch.pixels, request, cache) for own in self.rows]
        views = ViewPlan(self.ten_crop, augmented_views=0).names("val")
        examples = unlabeled_examples(len(batch.digests), self.head.classes)
        features = Features(np.concatenate(values, axis=2), views, examples, self.provenance)
        familiarity = None
        if self.familiarity is not None:
            familiarity = self.familiarity.percentiles(features.values[:, 0])
        return MemberOutputs(self.head.logits(features), views, familiarity)


class LoadedNetwork:
    """A network that was trained end to end; it sees one view of an image.

    rows: of C logits, and of features behind them if there is a `familiarity`.
    """

    def __init__(self, rows: CachedRows, classes: int, familiarity: Familiarity | None) -> None:
        self.rows, self.classes, self.familiarity = rows, classes, familiarity

    def outputs(self, batch: SquareBatch, cache: Path | None) -> MemberOutputs:
        views = ViewPlan(ten_crop=False, augmented_views=0).names("val")
        rows = self.rows(batch.pixels, batch.request(ten_crop=False), cache)  # [N, 1, C + D]
        familiarity = None
        if self.familiarity is not None:
            familiarity = self.familiarity.percentiles(rows[:, 0, self.classes :])
        return MemberOutputs(rows[..., : self.classes], views, familiarity)


class TrainedModel:
    """A model that was loaded from its folder.

    description: the content of model.json. batch_size: number of images computed at once.
    """

    def __init__(
        self, description: ModelDescription, members: Sequence[LoadedMember], batch_size: int
    ) -> None:
        self.description, self.members, self.batch_size = description, members, batch_size

    def outputs(self, batch: SquareBatch, cache: Path | None) -> ModelOutputs:
        """Returns logits in the description's views, and how familiar the images are.

        cache: the folder of all caches; None keeps nothing. Raises what the members raise.
        """
        examples = unlabeled_examples(len(batch.digests), self.description.labels)
        found = [member.outputs(batch, cache) for member in self.members]
        predictions = [
            Predictions(own.logits, own.views, examples, passes=0, parameters=0) for own in found
        ]
        averaged = predictions[0]
        if len(predictions) > 1:
            averaged = average_members(align_members(predictions), self.description.average)
        chosen = [averaged.views.index(view) for view in self.description.views]
        known = [own.familiarity for own in found if own.familiarity is not None]
        return ModelOutputs(averaged.logits[:, chosen], np.mean(known, axis=0) if known else None)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns the probabilities [N, C] at temperature 1 of logits [N, V, C]."""
        examples = unlabeled_examples(len(logits), self.description.labels)
        predictions = Predictions(logits, self.description.views, examples, passes=0, parameters=0)
        return protocol_probabilities(predictions)[self.description.protocol]

    def calibrated(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the calibrated probabilities [N, C] of those at temperature 1."""
        return apply_temperature(probabilities, self.description.temperature)

    def candidates(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns [N, C] bool: the conformal sets of probabilities at temperature 1, to which the
        likeliest class always belongs."""
        sets = prediction_sets(probabilities, self.description.conformal.threshold)
        sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
        return sets


def unlabeled_examples(count: int, classes: list[Any]) -> Examples:
    """Returns examples of images without labels, named by their positions."""
    return Examples([str(i) for i in range(count)], np.full(count, UNLABELED), classes)


def load_model(folder: Path, device: str = "auto", batch_size: int = 16) -> TrainedModel:
    """Loads the model in `folder`; nothing else is read but the weights of its backbones.

    device: `cpu`, `cuda`, or `auto` for a GPU if there is one. batch_size: images computed at once.

    Raises:
        UserError: there is no model; it is damaged or of another version; or the weights of a
            backbone are missing or are others.
    """
    description = load_description(folder)
    members: list[LoadedMember] = []
    for member in description.members:
        if isinstance(member, HeadMember):
            members.append(_load_head(folder, member, description, device, batch_size))
        else:
            members.append(_load_network(folder, member, description, device, batch_size))
    return TrainedModel(description, members, batch_size)


def _load_head(
    folder: Path, member: HeadMember, description: ModelDescription, device: str, batch_size: int
) -> LoadedHead:
    rows = []
    for name, (backbone, precision) in load_backbones(folder, member).items():
        runtime = start_runtime(backbone, device, batch_size, precision)
        extractor = RowExtractor(name, runtime, backbone.provenance, layers=backbone.layers)
        rows.append(CachedRows(extractor, member.dtype))
    head = load_head(folder / member.file)
    familiarity = _load_familiarity(folder, member)
    return LoadedHead(head, rows, len(description.views) > 1, familiarity)


def _load_familiarity(folder: Path, member: HeadMember | NetworkMember) -> Familiarity | None:
    return load_familiarity(folder / member.familiarity.file) if member.familiarity else None


def load_backbones(folder: Path, member: HeadMember) -> dict[str, tuple[LoadedBackbone, str]]:
    """Returns the backbones of a head by their aliases, each with its precision.

    Raises:
        UserError: weights are missing, or are others than those that the head was trained on.
    """
    loaded = {}
    for name, packaged in member.backbones.items():
        entry = validate_as(Backbone, _with_weights(folder, packaged.entry), f"backbone '{name}'")
        backbone = load_backbone(entry)
        found = backbone.provenance["weights"]
        if found != packaged.weights:
            raise UserError(
                f"the weights of the backbone '{name}' ({entry.architecture}, {entry.weights}) "
                f"have the digest {found}, and the head was trained on features of "
                f"{packaged.weights}; use the versions of headstart and timm in model.json"
            )
        loaded[name] = backbone, entry.precision
    return loaded


def _with_weights(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Returns the entry with its weights file where it is now: at its path, or in `folder`.

    Raises:
        UserError: it is at neither.
    """
    if "sha256" not in entry or entry["weights"] == "bundled":
        return entry
    path = Path(entry["weights"])
    for candidate in (path, folder / path.name):
        if candidate.is_file():
            return {**entry, "weights": str(candidate)}
    raise UserError(
        f"the weights file {path} of {entry['architecture']} is missing; copy the file with the "
        f"sha256 {entry['sha256']} there, or into {folder}"
    )


def _load_network(
    folder: Path, member: NetworkMember, description: ModelDescription, device: str, batch_size: int
) -> LoadedNetwork:
    classes = len(description.classes)
    network, spec = load_network(folder, member, classes)
    familiarity = _load_familiarity(folder, member)
    if familiarity is not None:
        network = LogitsAndFeatures(network)
    runtime = NetworkRuntime(network, spec, description.image.side, device, batch_size)
    # Rows are found by this: the architecture names the cache's folder.
    provenance = {
        "architecture": member.name.replace("/", "-"),
        "network": member.sha256,
        "input": member.input,
        "features": familiarity is not None,
        "torch": torch.__version__,
    }
    rows = CachedRows(RowExtractor(member.name, runtime, provenance), "float32")
    return LoadedNetwork(rows, classes, familiarity)


def load_network(folder: Path, member: NetworkMember, classes: int) -> tuple[nn.Module, InputSpec]:
    """Returns the network of a member, in evaluation mode, and what it takes.

    Raises:
        UserError: this version can't build it.
    """
    try:
        network = build_untrained(member.identity, classes)
        network.load_state_dict(load_file(folder / member.file))
        spec = InputSpec(**member.input)
    except (RuntimeError, TypeError, KeyError) as error:
        raise UserError(
            f"this version of headstart or timm builds another network than {member.name} "
            f"({first_line(error)}); use those in model.json"
        ) from None
    return network.eval().requires_grad_(False), spec
