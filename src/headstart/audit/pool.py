"""All images that the audit compares: the labeled images of all splits, and their features."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from headstart.audit.image_checks import THUMBNAIL, make_thumbnails
from headstart.core.errors import UserError
from headstart.heads.fitted_head import Standardization
from headstart.store.examples import UNLABELED, Examples, Split
from headstart.store.features import Features, load_features, whole_view
from headstart.store.images import load_file_sizes, open_images

LABELED_SPLITS: tuple[Split, ...] = ("train", "tune", "val")

COMPONENTS = 1024
"""Wider features are reduced to so many principal components, which takes a fraction of the time
of the whole width and finds the same (docs/audit.md)."""


@dataclass(frozen=True)
class Pool:
    """The images of train, tune and val, in this order.

    rows: [N, D] float32, the standardized features of the whole views, reduced to at most
    `COMPONENTS` dimensions. splits: [N] names.
    """

    rows: np.ndarray
    splits: np.ndarray
    examples: Examples

    def directions(self) -> np.ndarray:
        """Returns the rows scaled to length 1: [N, D] float32.

        Their products are the cosines of standardized features. Without standardization all cosines
        are high, because a few features are large in every image.
        """
        return self.rows / np.maximum(np.linalg.norm(self.rows, axis=1, keepdims=True), 1e-12)


def load_pool(folder: Path) -> Pool:
    """Reads the features in `folder` of all splits that have labels.

    Raises:
        UserError: a file is missing or was not written by `extract`, an image has no label, or a
            feature is NaN or infinite.
    """
    parts = {split: whole_view(load_features(folder / f"{split}.h5")) for split in LABELED_SPLITS}
    parts = {split: part for split, part in parts.items() if len(part.examples)}
    labels = np.concatenate([part.examples.labels for part in parts.values()])
    if (labels == UNLABELED).any():
        raise UserError("the audit needs a label for every image of train, tune and val")
    first = next(iter(parts.values()))
    features = replace(
        first,
        values=np.concatenate([part.values for part in parts.values()]),
        examples=Examples(
            [id_ for part in parts.values() for id_ in part.examples.ids],
            labels,
            first.examples.classes,
        ),
    )
    splits = np.concatenate([[split] * len(part.examples) for split, part in parts.items()])
    return Pool(_reduced_rows(features), splits, features.examples)


def _reduced_rows(features: Features) -> np.ndarray:
    """Returns the rows of `Pool`; raises UserError if a feature is NaN or infinite."""
    standardization = Standardization.from_features(features)
    rows = standardization(features.values[:, 0].astype(np.float32))
    if min(rows.shape) <= COMPONENTS:
        return rows
    pca = PCA(COMPONENTS, svd_solver="randomized", iterated_power=2, random_state=0)  # pyright: ignore
    return pca.fit_transform(rows)


@dataclass(frozen=True)
class PoolImages:
    """What the audit looks at of the pool's N images themselves.

    thumbnails: [N, S, S] uint8, gray. digests: [N, 32] uint8, SHA-256 of the stored pixels. sizes:
    [N, 2] int64, width and height of the files, px.
    """

    thumbnails: np.ndarray
    digests: np.ndarray
    sizes: np.ndarray


def load_pool_images(images: Path, ids: list[str]) -> PoolImages:
    """Reads the images `ids` of a pool from images.h5.

    Raises:
        UserError: the file is missing, was not written by `resize`, or lacks an image.
    """
    with open_images(images) as stored:
        row_of = {id_: row for row, id_ in enumerate(stored.examples.ids)}
        if missing := [id_ for id_ in ids if id_ not in row_of]:
            raise UserError(f"{images} lacks '{missing[0]}'; run `dvc repro`")
        rows = np.array([row_of[id_] for id_ in ids])
        order = np.argsort(rows)
        thumbnails = np.empty((len(rows), THUMBNAIL, THUMBNAIL), np.uint8)
        thumbnails[order] = make_thumbnails(stored, rows[order])
        return PoolImages(thumbnails, stored.digests[rows], load_file_sizes(images)[rows])
