"""Predictions: the common format of heads, fine-tuned networks and networks from scratch.

Evaluation, calibration, ensembles, error analysis and comparison read predictions, never a model.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.hdf5_files import create_hdf5, get_dataset, open_hdf5, read_json, write_json
from headstart.store.examples import Examples, read_examples, write_examples


@dataclass(frozen=True)
class Predictions:
    """One model's logits for one split.

    logits: [N, V, C] float32, before any softmax. views: V names (`store.views`). passes: the
    model's training cost as the number of views that passed through its network. parameters: how
    many of the model's were trained.
    """

    logits: np.ndarray
    views: list[str]
    examples: Examples
    passes: int
    parameters: int


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Writes predictions to an HDF5 file at `path`; raises what `create_hdf5` raises."""
    logits = predictions.logits
    assert logits.ndim == 3
    assert logits.dtype == np.float32
    assert logits.shape[1] == len(predictions.views)
    with create_hdf5(path) as file:
        file.create_dataset("logits", data=logits)
        write_json(file, "views", predictions.views)
        write_json(file, "passes", predictions.passes)
        write_json(file, "parameters", predictions.parameters)
        write_examples(file, predictions.examples)


def load_predictions(path: Path) -> Predictions:
    """Reads the predictions at `path`.

    Raises:
        UserError: the file is missing or was not written by `predict`.
    """
    with open_hdf5(path) as file:
        return Predictions(
            logits=get_dataset(file, "logits")[:],
            views=read_json(file, "views"),
            examples=read_examples(file),
            passes=read_json(file, "passes"),
            parameters=read_json(file, "parameters"),
        )
