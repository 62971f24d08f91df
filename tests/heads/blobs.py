"""Synthetic features: one Gaussian blob per class, the same blobs in every split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from headstart.config import Head, LinearHead, MLPHead, SweepHead
from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.store.examples import write_examples
from headstart.store.features import Features
from tests import cases

PROVENANCE = {"architecture": "resnet18", "weights": "0f0f", "input_size": 64}


def features(
    n: int = 120,
    *,
    classes: int = 4,
    width: int = 16,
    views: int = 1,
    split: str = "train",
    distance: float = 1.0,
    dtype: Any = np.float16,
) -> Features:
    """Returns features of `n` images; the columns' means and scales differ, as a backbone's do."""
    examples = cases.examples(n, classes, split)
    centers = distance * np.random.default_rng(0).normal(size=(classes, width))
    rng = np.random.default_rng(sum(split.encode()))
    x = centers[examples.labels, None] + rng.normal(size=(n, views, width))
    x = 1 + x * np.linspace(0.2, 1.5, width)
    names = ["whole", *(f"augmented_{k}" for k in range(views - 1))]
    return Features(x.astype(dtype), names, examples, PROVENANCE)


def save(path: Path, features: Features) -> None:
    """Writes the file that `extract` would write."""
    with create_hdf5(path) as file:
        file.create_dataset("features", data=features.values)
        write_json(file, "views", features.views)
        write_json(file, "provenance", features.provenance)
        write_examples(file, features.examples)


def with_labels(features: Features, labels: np.ndarray) -> Features:
    return replace(features, examples=replace(features.examples, labels=labels))


def recipe(kind: str, **settings: Any) -> Any:
    """Returns a validated recipe, with default settings for gradient heads."""
    gradient_defaults: dict[str, Any] = {
        "learning_rate": 0.01,
        "learning_rate_decay": 0.9,
        "weight_decay": 0.001,
        "label_smoothing": 0.1,
        "epochs": 5,
        "batch_size": 32,
        "seed": 0,
    }
    defaults = {"standardize": True} | (gradient_defaults if kind in ("linear", "mlp") else {})
    return TypeAdapter(Head).validate_python({"kind": kind} | defaults | settings)


def linear(**changes: Any) -> LinearHead:
    return recipe("linear", **changes)


def sweep(head: LinearHead | MLPHead, over: dict[str, list[Any]], **changes: Any) -> SweepHead:
    return SweepHead.model_validate(
        {"kind": "sweep", "head": head.model_dump(), "over": over, **changes}
    )
