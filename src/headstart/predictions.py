"""Predictions: the junction where heads, fine-tuned and from-scratch models meet.

Evaluation, calibration, ensembles, error analysis and comparison read these and never a model.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart import h5
from headstart.h5 import Examples


@dataclass(frozen=True)
class Predictions:
    """One model's scores for one split.

    logits: [N, V, C] float32, before any softmax. views: V names (headstart.views). passes: what
    the model cost, in images (where there are several views, in views) through the network.
    """

    logits: np.ndarray
    views: list[str]
    examples: Examples
    passes: int


def save(path: Path, predictions: Predictions) -> None:
    logits = predictions.logits
    assert logits.ndim == 3
    assert logits.dtype == np.float32
    assert logits.shape[1] == len(predictions.views)
    with h5.create(path) as file:
        file.create_dataset("logits", data=logits)
        h5.write_json(file, "views", predictions.views)
        h5.write_json(file, "passes", predictions.passes)
        h5.write_examples(file, predictions.examples)


def load(path: Path) -> Predictions:
    """The predictions at `path`.

    Raises:
        UserError: the file is missing or was not written by `predict`.
    """
    with h5.open_existing(path) as file:
        return Predictions(
            logits=h5.dataset(file, "logits")[:],
            views=h5.read_json(file, "views"),
            examples=h5.read_examples(file),
            passes=h5.read_json(file, "passes"),
        )
