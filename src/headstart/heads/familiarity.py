"""Familiarity: the cosine to the nearest training images, as a percentile of tune's images.

The distance to the nearest training images tells images of unknown classes apart (Sun et al.,
"Out-of-distribution detection with deep nearest neighbors", 2022, section 3). It is computed from
principal components of the features, so that a model's folder stays small.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from headstart.core.atomic_files import atomic_path
from headstart.core.errors import UserError
from headstart.store.features import Features, select_images, whole_view

FAMILIARITY_FILE = "familiarity.safetensors"
"""Name of the file in the folder of a run's model."""

MAX_IMAGES = 5_000
"""Training images that new images are compared with, and images of tune, at most."""

COMPONENTS = 128
"""Principal components at most."""

NEIGHBORS = 10
"""Nearest training images whose cosines are averaged."""

BLOCK = 1024
"""New images compared at a time."""


@dataclass(frozen=True)
class Familiarity:
    """center: [D] float32. projection: [D, P] float32, from features to components. reference:
    [R, P] float32, training images' components of length 1. tune: [M] float32, ascending, the
    similarity of each image of tune.
    """

    center: np.ndarray
    projection: np.ndarray
    reference: np.ndarray
    tune: np.ndarray

    def percentiles(self, features: np.ndarray) -> np.ndarray:
        """Returns how many percent of tune's images are not more familiar: [N] float64.

        features: [N, D], of whole views.
        """
        found = self._similarity(features)
        return 100 * np.searchsorted(self.tune, found, side="right") / len(self.tune)

    def _similarity(self, features: np.ndarray) -> np.ndarray:
        """Returns the mean cosine to the nearest training images: [N] float32."""
        neighbors = min(NEIGHBORS, len(self.reference))
        blocks = [np.empty(0, np.float32)]
        for start in range(0, len(features), BLOCK):
            x = _unit((features[start : start + BLOCK] - self.center) @ self.projection)
            cosines = x @ self.reference.T  # [n, R]
            nearest = -np.partition(-cosines, neighbors - 1, axis=1)[:, :neighbors]
            blocks.append(nearest.mean(axis=1))
        return np.concatenate(blocks)


def fit_familiarity(train: np.ndarray, tune: np.ndarray) -> Familiarity:
    """Returns what compares new images with those of features `train` [R, D] and `tune` [M, D]."""
    # Imported here because it takes a second, and reading a model doesn't need it.
    from sklearn.decomposition import PCA

    train, tune = (rows.astype(np.float32) for rows in (train, tune))
    std = train.std(axis=0)
    scale = 1 / np.where(std > 0, std, 1)
    center = train.mean(axis=0)
    pca = PCA(min(COMPONENTS, *train.shape), svd_solver="randomized", random_state=0).fit(
        (train - center) * scale
    )
    components = np.asarray(pca.components_)  # [P, D]
    projection = np.ascontiguousarray(scale[:, None] * components.T, np.float32)
    reference = _unit((train - center) @ projection)
    untried = Familiarity(center, projection, reference, np.empty(0, np.float32))
    return Familiarity(center, projection, reference, np.sort(untried._similarity(tune)))


def familiarity_of_features(train: Features, tune: Features) -> Familiarity:
    """Returns the familiarity by the whole views of features; of many images a sample counts."""
    sampled = (select_images(whole_view(f), sample_rows(len(f.examples))) for f in (train, tune))
    return fit_familiarity(*(features.values[:][:, 0] for features in sampled))


def sample_rows(count: int) -> np.ndarray:
    """Returns the positions of at most `MAX_IMAGES` of `count` images, ascending."""
    if count <= MAX_IMAGES:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, MAX_IMAGES, replace=False))


def save_familiarity(path: Path, familiarity: Familiarity) -> None:
    """Writes it to `path`, the reference as float16; equal ones give equal bytes."""
    tensors = {**vars(familiarity), "reference": familiarity.reference.astype(np.float16)}
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(save(tensors))


def load_familiarity(path: Path) -> Familiarity:
    """Reads what `save_familiarity` wrote to `path`.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
        tensors["reference"] = _unit(tensors["reference"].astype(np.float32))
        return Familiarity(**tensors)
    except (OSError, SafetensorError, KeyError, TypeError):
        raise UserError(f"{path} is missing or damaged; train the run again") from None


def _unit(rows: np.ndarray) -> np.ndarray:
    """Returns rows [N, P] at length 1; those of zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)
