"""Fitted heads: a model with its standardization and the origin of its features.

A head is saved as one safetensors file. This module doesn't import torch.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from headstart.core.atomic_files import atomic_path
from headstart.core.errors import UserError
from headstart.heads.head_models import MODELS, Affine, Model, NearestNeighbors
from headstart.store.examples import ClassLabel
from headstart.store.features import Features

HEAD_FILE = "head.safetensors"
"""Name of the file in the folder of a run's model."""

DESCRIPTION_KEYS = {"kind", "settings", "passes", "classes", "provenance"}
"""The keys of the file's JSON; heads of other versions have other keys."""

BLOCK_ROWS = 4096
"""Number of rows of features that are held as float32 at a time."""


@dataclass(frozen=True)
class Standardization:
    """Maps x [N, D] to (x - mean) / std. mean, std: [D] float32."""

    mean: np.ndarray
    std: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.std

    @classmethod
    def identity(cls, width: int) -> Self:
        """Returns a standardization that changes nothing. width: D."""
        return cls(np.zeros(width, np.float32), np.ones(width, np.float32))

    @classmethod
    def from_features(cls, features: Features) -> Self:
        """Returns the standardization to mean 0 and variance 1 over all images and views.

        Constant features are only centered. The moments are computed block by block and merged
        (Chan, Golub and LeVeque, 1979, eq. 2.1).

        Raises:
            UserError: a feature is NaN or infinite.
        """
        count, mean, squares = 0, np.zeros(features.width), np.zeros(features.width)
        for _, block in iterate_finite(features):
            x = block.reshape(-1, features.width)
            block_mean = x.mean(axis=0, dtype=np.float64)
            x -= block_mean.astype(np.float32)
            difference = block_mean - mean
            total = count + len(x)
            squares += np.einsum("nd,nd->d", x, x) + difference**2 * count * len(x) / total
            mean += difference * len(x) / total
            count = total
        std = np.sqrt(squares / count)
        constant = std <= 1e-6 * np.abs(mean)
        return cls(mean.astype(np.float32), np.where(constant, 1, std).astype(np.float32))


@dataclass(frozen=True)
class FittedHead:
    """A fitted model; it can only be applied to features of the same origin.

    passes: number of forward passes of the backbone that the features to train and choose the head
    needed; with several concatenated backbones, the sum over all of them.

    classes: the classes of the model's C scores. provenance: of the features it was trained on.
    """

    model: Model
    standardization: Standardization
    classes: list[ClassLabel]
    provenance: dict[str, Any]
    passes: int

    @property
    def parameters(self) -> int:
        """The number of parameters that were trained; nearest neighbors have none."""
        if isinstance(self.model, NearestNeighbors):
            return 0
        return sum(tensor.size for tensor in self.model.tensors().values())

    def is_of(self, backbone: dict[str, Any]) -> bool:
        """Whether it was trained on the features of the backbone with this provenance alone."""
        # The head's provenance has more keys: how the features were extracted.
        return all(self.provenance.get(key) == value for key, value in backbone.items())

    def on_plain_features(self) -> Affine | None:
        """Returns the head without its standardization, as one affine function of the features:
        W ((x - mean) / std) + b. None if its model isn't affine.
        """
        if not isinstance(self.model, Affine):
            return None
        weight = self.model.weight / self.standardization.std
        return Affine(weight, self.model.bias - weight @ self.standardization.mean)

    def logits(self, features: Features) -> np.ndarray:
        """Returns the logits [N, V, C] float32 of features [N, V, D].

        Raises:
            UserError: the features were extracted differently than those that the head was trained
                on, have other classes or aren't finite.
        """
        width = len(self.standardization.mean)
        if features.provenance != self.provenance or features.width != width:
            differences = _describe_differences(self.provenance, features.provenance)
            differences = differences or f"width: {width} then, {features.width} now"
            raise UserError(
                f"the head was trained on other features ({differences}); train it again on these"
            )
        if features.examples.classes != self.classes:
            raise UserError(
                f"the head was trained on other classes ({len(self.classes)} then, "
                f"{len(features.examples.classes)} now); train it again on these"
            )
        images, views, _ = features.values.shape
        logits = np.empty((images, views, len(self.classes)), np.float32)
        for rows, x in iterate_finite(features):
            scores = self.model(self.standardization(x.reshape(-1, width)))
            logits[rows] = scores.reshape(-1, views, len(self.classes))
        return logits


def iterate_finite(features: Features) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields the features in order, some images at a time.

    Each item is the slice of the images and their features [n, V, D] float32.

    Raises:
        UserError: a feature is NaN or infinite.
    """
    step = max(1, BLOCK_ROWS // features.values.shape[1])
    for start in range(0, len(features.examples), step):
        rows = slice(start, start + step)
        x = features.values[rows].astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
        if len(bad):
            raise UserError(
                f"the features of '{features.examples.ids[start + bad[0]]}' are NaN or infinite; "
                "where float16 is too narrow for the backbone, set dtype to float32"
            )
        yield rows, x


def save_head(path: Path, head: FittedHead) -> None:
    """Writes a head to one safetensors file, which is complete or absent.

    Equal heads result in equal bytes.
    """
    tensors = {
        "standardization.mean": head.standardization.mean,
        "standardization.std": head.standardization.std,
        **{f"model.{name}": tensor for name, tensor in head.model.tensors().items()},
    }
    description = {
        "kind": head.model.kind,
        "settings": head.model.settings(),
        "passes": head.passes,
        "classes": [[label.id, label.name] for label in head.classes],
        "provenance": head.provenance,
    }
    content = safetensors.numpy.save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        # A single key, because safetensors writes several in an order that varies between runs.
        metadata={"head": json.dumps(description, sort_keys=True, ensure_ascii=False)},
    )
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)


def load_head(path: Path) -> FittedHead:
    """Returns the head at `path`, of any kind.

    Raises:
        UserError: the file is missing or damaged, or wasn't written by this version of headstart.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {}).get("head", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the head that belongs there") from None
    except SafetensorError as error:
        raise UserError(
            f"{path} can't be read ({error}); delete it and train the head again"
        ) from None
    if description.get("kind") not in MODELS or description.keys() != DESCRIPTION_KEYS:
        raise UserError(f"{path} is not a head of this version; delete it and train the head again")
    model = {
        name.removeprefix("model."): tensor
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    return FittedHead(
        model=MODELS[description["kind"]].from_tensors(model, description["settings"]),
        standardization=Standardization(
            tensors["standardization.mean"], tensors["standardization.std"]
        ),
        classes=[ClassLabel(*pair) for pair in description["classes"]],
        provenance=description["provenance"],
        passes=description["passes"],
    )


def _describe_differences(then: dict[str, Any], now: dict[str, Any]) -> str:
    """Returns `key: <value> then, <value> now` for every key whose values differ."""
    return "; ".join(
        f"{key}: {then.get(key)} then, {now.get(key)} now"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    )
