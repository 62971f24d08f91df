"""The functions that heads are, as plain arrays: what is saved, and what is applied with numpy.

How one was fitted doesn't matter here: ridge, LDA and logistic regression are all `Affine`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

Tensors = dict[str, np.ndarray]


class Model(Protocol):
    """Scores of standardized features. `kind` is its name in a file."""

    kind: ClassVar[str]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Logits [N, C] float32 of x [N, D] float32."""
        ...

    def tensors(self) -> Tensors: ...

    def settings(self) -> dict[str, Any]:
        """What it is besides its tensors, as plain JSON."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Tensors, settings: dict[str, Any]) -> Self:
        """The inverse of `tensors` and `settings`."""
        ...


@dataclass(frozen=True)
class Affine:
    """weight: [C, D] float32. bias: [C] float32."""

    weight: np.ndarray
    bias: np.ndarray
    kind: ClassVar[str] = "affine"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weight.T + self.bias

    def tensors(self) -> Tensors:
        return {"weight": self.weight, "bias": self.bias}

    def settings(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_tensors(cls, tensors: Tensors, settings: dict[str, Any]) -> Self:
        return cls(**tensors, **settings)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    # Hendrycks and Gimpel (2016), the approximation by tanh.
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


@dataclass(frozen=True)
class MLP:
    """Affine layers with one of `ACTIVATIONS` between them, each layer fed by the one before it."""

    layers: list[Affine]
    activation: str
    kind: ClassVar[str] = "mlp"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        *hidden, last = self.layers
        for layer in hidden:
            x = ACTIVATIONS[self.activation](layer(x))
        return last(x)

    def tensors(self) -> Tensors:
        return {
            f"{index}.{name}": tensor
            for index, layer in enumerate(self.layers)
            for name, tensor in layer.tensors().items()
        }

    def settings(self) -> dict[str, Any]:
        return {"activation": self.activation}

    @classmethod
    def from_tensors(cls, tensors: Tensors, settings: dict[str, Any]) -> Self:
        depth = len(tensors) // 2
        layers = [Affine(tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(depth)]
        return cls(layers, **settings)


@dataclass(frozen=True)
class NearestNeighbors:
    """The k most similar training images vote for their classes (DINO, Caron et al., 2021, F).

    A vote weighs exp(cosine similarity / temperature). The logits are the logarithms of the votes'
    shares; a class without a vote has the share `floor`.

    bank: [N, D] float32, rows of length 1. labels: [N] int64. classes: C.
    """

    bank: np.ndarray
    labels: np.ndarray
    classes: int
    k: int
    temperature: float
    floor: float = 1e-6
    kind: ClassVar[str] = "nearest_neighbors"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        # A few images at a time: each has a similarity to every row of the bank.
        parts = np.array_split(x, -(-len(x) // 256))
        return np.concatenate([self._logits(part) for part in parts])

    def _logits(self, x: np.ndarray) -> np.ndarray:
        similarity = normalize_rows(x) @ self.bank.T  # [B, N]
        k = min(self.k, len(self.bank))
        nearest = np.argpartition(similarity, -k, axis=1)[:, -k:]  # [B, k]
        of_nearest = np.take_along_axis(similarity, nearest, axis=1)
        # Less the greatest, so that no temperature overflows; shares don't change.
        votes = np.exp((of_nearest - of_nearest.max(axis=1, keepdims=True)) / self.temperature)
        shares = np.zeros((len(x), self.classes), np.float32)
        np.add.at(shares, (np.arange(len(x))[:, None], self.labels[nearest]), votes)
        shares /= shares.sum(axis=1, keepdims=True)
        return np.log(np.maximum(shares, self.floor))

    def tensors(self) -> Tensors:
        return {"bank": self.bank, "labels": self.labels}

    def settings(self) -> dict[str, Any]:
        return {"classes": self.classes, "k": self.k, "temperature": self.temperature}

    @classmethod
    def from_tensors(cls, tensors: Tensors, settings: dict[str, Any]) -> Self:
        return cls(**tensors, **settings)


def normalize_rows(x: np.ndarray) -> np.ndarray:
    """x [N, D] with rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.maximum(length, np.finfo(np.float32).tiny)


MODELS: dict[str, type[Model]] = {model.kind: model for model in (Affine, MLP, NearestNeighbors)}
