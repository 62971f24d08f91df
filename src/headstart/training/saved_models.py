"""Trained networks as they are saved."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from headstart.core.errors import UserError
from headstart.store.examples import ClassLabel
from headstart.training.image_transforms import InputSpec

MODEL_FILE = "model.safetensors"
"""Name of the file in the folder of a run's model."""


class SavedModel(NamedTuple):
    """A trained network as it was saved.

    identity: as in `training_jobs.TrainingJob`. weights: its state_dict.
    """

    identity: dict[str, Any]
    input_spec: InputSpec
    classes: list[ClassLabel]
    weights: dict[str, torch.Tensor]


def load_model(path: Path) -> SavedModel:
    """Returns the model at `path`.

    Raises:
        UserError: the file can't be read, or wasn't written by this version of headstart.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = json.loads((file.metadata() or {}).get("network", "{}"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} can't be read ({error}); delete it and run `dvc repro`") from None
    if not description.keys() >= {"input", "classes"}:
        raise UserError(f"{path} is not a model of this version; delete it and run `dvc repro`")
    input_spec = InputSpec(**description.pop("input"))
    classes = [ClassLabel(*pair) for pair in description.pop("classes")]
    return SavedModel(description, input_spec, classes, weights)
