"""The functions that heads are, as plain arrays: what is saved, and what is applied with numpy.

How one was fitted doesn't matter here: ridge, LDA and logistic regression are all `Affine`.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np

Tensors = dict[str, np.ndarray]


class Model(Protocol):
    """Scores of standardised features; `kind` is its name in a file."""

    kind: ClassVar[str]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Logits [N, C] float32 of x [N, D] float32."""
        ...

    def tensors(self) -> Tensors: ...

    @classmethod
    def of(cls, tensors: Tensors) -> Self:
        """The inverse of `tensors`."""
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

    @classmethod
    def of(cls, tensors: Tensors) -> Self:
        return cls(tensors["weight"], tensors["bias"])


MODELS: dict[str, type[Model]] = {model.kind: model for model in (Affine,)}
