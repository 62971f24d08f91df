"""A fitted head: a model, the standardization before it, and the features that it applies to.

One safetensors file holds all of it. Nothing here imports torch.
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
from headstart.heads.head_models import MODELS, Model
from headstart.store.examples import ClassLabel
from headstart.store.features import Features

HEAD_FILE = "head.safetensors"
"""In the folder of a run's model."""

ABOUT = {"kind", "settings", "passes", "classes", "provenance"}
"""The keys of the file's JSON; a head of another version has others."""

ROWS = 4096
"""Of features that are held as float32 at a time."""


@dataclass(frozen=True)
class Standardization:
    """x becomes (x - mean) / std. mean, std: [D] float32."""

    mean: np.ndarray
    std: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.std

    @classmethod
    def identity(cls, width: int) -> Self:
        return cls(np.zeros(width, np.float32), np.ones(width, np.float32))

    @classmethod
    def from_features(cls, features: Features) -> Self:
        """To mean 0 and variance 1 over all images and views; what is constant only to mean 0.

        The moments are merged block by block (Chan, Golub and LeVeque, 1979, eq. 2.1).

        Raises:
            UserError: a feature is NaN or infinite.
        """
        count, mean, squares = 0, np.zeros(features.width), np.zeros(features.width)
        for _, block in iterate_finite(features):
            x = block.reshape(-1, features.width)
            block_mean = x.mean(axis=0, dtype=np.float64)
            x -= block_mean.astype(np.float32)
            away = block_mean - mean
            total = count + len(x)
            squares += np.einsum("nd,nd->d", x, x) + away**2 * count * len(x) / total
            mean += away * len(x) / total
            count = total
        std = np.sqrt(squares / count)
        constant = std <= 1e-6 * np.abs(mean)
        return cls(mean.astype(np.float32), np.where(constant, 1, std).astype(np.float32))


@dataclass(frozen=True)
class FittedHead:
    """A model and what it was trained on; it applies to features of the same origin only.

    passes: how many features were looked at to train and choose it; each took the backbone a pass,
    or each of the backbones that stand side by side.

    classes: what the model's C scores stand for. provenance: of the features it was trained on.
    """

    model: Model
    standardization: Standardization
    classes: list[ClassLabel]
    provenance: dict[str, Any]
    passes: int

    def logits(self, features: Features) -> np.ndarray:
        """[N, V, C] float32, before any softmax, of features [N, V, D].

        Raises:
            UserError: the features are another backbone's, have other classes or aren't finite.
        """
        width = len(self.standardization.mean)
        if features.provenance != self.provenance or features.width != width:
            changed = _differences(self.provenance, features.provenance)
            changed = changed or f"width: {width} then, {features.width} now"
            raise UserError(
                f"the head was trained on other features ({changed}); train it again on these"
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
    """The features in order, some rows [n, V, D] float32 at a time.

    Raises:
        UserError: one of them is NaN or infinite.
    """
    step = max(1, ROWS // features.values.shape[1])
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
    """One safetensors file; whole or absent; equal heads give equal bytes."""
    tensors = {
        "standardization.mean": head.standardization.mean,
        "standardization.std": head.standardization.std,
        **{f"model.{name}": tensor for name, tensor in head.model.tensors().items()},
    }
    about = {
        "kind": head.model.kind,
        "settings": head.model.settings(),
        "passes": head.passes,
        "classes": [[label.id, label.name] for label in head.classes],
        "provenance": head.provenance,
    }
    content = safetensors.numpy.save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        # One key: safetensors writes several in an order that changes from run to run.
        metadata={"head": json.dumps(about, sort_keys=True, ensure_ascii=False)},
    )
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)


def load_head(path: Path) -> FittedHead:
    """The head at `path`, whatever its kind.

    Raises:
        UserError: the file is missing or was not written by `train_head`.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("head", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path} is missing; train the head that belongs there") from None
    except SafetensorError as error:
        raise UserError(
            f"{path} can't be read ({error}); delete it and train the head again"
        ) from None
    if about.get("kind") not in MODELS or about.keys() != ABOUT:
        raise UserError(f"{path} is not a head of this version; delete it and train the head again")
    model = {
        name.removeprefix("model."): tensor
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    return FittedHead(
        model=MODELS[about["kind"]].from_tensors(model, about["settings"]),
        standardization=Standardization(
            tensors["standardization.mean"], tensors["standardization.std"]
        ),
        classes=[ClassLabel(*pair) for pair in about["classes"]],
        provenance=about["provenance"],
        passes=about["passes"],
    )


def _differences(then: dict[str, Any], now: dict[str, Any]) -> str:
    """`key: old then, new now` for every key of either that differs."""
    return "; ".join(
        f"{key}: {then.get(key)} then, {now.get(key)} now"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    )
