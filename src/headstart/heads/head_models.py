"""The models of fitted heads, as plain arrays that are saved and applied with numpy.

They don't depend on how they were fitted: ridge, LDA and logistic regression are all `Affine`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

Tensors = dict[str, np.ndarray]


class Model(Protocol):
    """A function from standardized features to logits. kind: its name in a saved head."""

    kind: ClassVar[str]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the logits [N, C] float32 of x [N, D] float32."""
        ...

    def tensors(self) -> Tensors:
        """Returns the arrays to save, by name."""
        ...

    def settings(self) -> dict[str, Any]:
        """Returns everything else to save, as plain JSON."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Tensors, settings: dict[str, Any]) -> Self:
        """Returns the model with these tensors and settings."""
        ...


@dataclass(frozen=True)
class Affine:
    """An affine function. weight: [C, D] float32. bias: [C] float32."""

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
    # The approximation by tanh of Hendrycks and Gimpel (2016).
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


@dataclass(frozen=True)
class MLP:
    """A multilayer perceptron: affine layers with an activation function between them.

    activation: a key of ACTIVATIONS.
    """

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
    """Weighted k-nearest-neighbor classification (DINO, Caron et al., 2021, appendix F).

    The k most similar training images vote for their classes with the weight
    exp(cosine similarity / temperature). The logits are the logarithms of the classes' shares of
    the votes; a class without votes gets the share `floor`.

    bank: [N, D] float32, the features of the training images, rows of length 1. labels: [N] int64.
    classes: C.
    """

    bank: np.ndarray
    labels: np.ndarray
    classes: int
    k: int
    temperature: float
    floor: float = 1e-6
    kind: ClassVar[str] = "nearest_neighbors"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        # A few images at a time, because each has a similarity to every row of the bank.
        parts = np.array_split(x, -(-len(x) // 256))
        return np.concatenate([self._logits(part) for part in parts])

    def _logits(self, x: np.ndarray) -> np.ndarray:
        """Returns the logits [B, C] of x [B, D]."""
        similarity = normalize_rows(x) @ self.bank.T  # [B, N]
        k = min(self.k, len(self.bank))
        nearest = np.argpartition(similarity, -k, axis=1)[:, -k:]  # [B, k]
        nearest_similarity = np.take_along_axis(similarity, nearest, axis=1)
        # The maximum is subtracted so that nothing overflows; the shares don't change.
        votes = np.exp(
            (nearest_similarity - nearest_similarity.max(axis=1, keepdims=True)) / self.temperature
        )
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
    """Returns x [N, D] with rows of length 1; rows of zeros are unchanged."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.maximum(length, np.finfo(np.float32).tiny)


MODELS: dict[str, type[Model]] = {model.kind: model for model in (Affine, MLP, NearestNeighbors)}
