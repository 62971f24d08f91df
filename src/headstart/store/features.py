"""Features: what a frozen backbone says of every view of every image.

They are in memory where they fit its limit, and left in their file where they don't.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from headstart.core.hdf5_files import get_dataset, open_hdf5, read_json
from headstart.store.examples import Examples, read_examples


@dataclass(frozen=True)
class Features:
    """One split through one backbone.

    values: [N, V, D] float16 or float32. views: V names (headstart.views). provenance: where the
    values come from (architecture, digest of the weights, preprocessing), plain JSON.
    """

    values: np.ndarray
    views: list[str]
    examples: Examples
    provenance: dict[str, Any]

    @property
    def width(self) -> int:
        return self.values.shape[2]


@dataclass(frozen=True)
class FeaturesOnDisk:
    """Stands for `Features.values` where only slices of rows are read: `values[start:stop]`.

    stored: [N, V, D]. views: how many of them, from the first, are seen. memory_limit: bytes of
    features that may be held at a time. rows: the positions of the images that are seen, in
    increasing order, or None for all.
    """

    stored: h5py.Dataset
    views: int
    memory_limit: int
    rows: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        images, _, width = self.stored.shape
        return images if self.rows is None else len(self.rows), self.views, width

    @property
    def dtype(self) -> np.dtype:
        return self.stored.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.stored[rows if self.rows is None else self.rows[rows], : self.views]


@contextmanager
def open_features(path: Path, memory_limit: int | None = None) -> Iterator[Features]:
    """The features at `path`; their values are `OnDisk` if they exceed `memory_limit` bytes.

    Raises:
        UserError: the file is missing or was not written by `extract`.
    """
    with open_hdf5(path) as file:
        stored = get_dataset(file, "features")
        if memory_limit is None or stored.nbytes <= memory_limit:
            values = stored[:]
        else:
            values = FeaturesOnDisk(stored, stored.shape[1], memory_limit)
        yield Features(
            values=cast(np.ndarray, values),
            views=read_json(file, "views"),
            examples=read_examples(file),
            provenance=read_json(file, "provenance"),
        )


def load_features(path: Path) -> Features:
    """The features at `path`, in memory; raises as `opened` does."""
    with open_features(path) as found:
        return found


def select_images(features: Features, rows: np.ndarray) -> Features:
    """The images at `rows`, increasing positions; in memory where they fit the limit.

    All rows are the same features again: a head of them is that of a run of its own.
    """
    if len(rows) == len(features.examples):
        return features
    values = features.values
    if isinstance(values, FeaturesOnDisk):
        part = replace(values, rows=rows)
        fits = np.prod(part.shape) * part.dtype.itemsize <= values.memory_limit
        values = part[:] if fits else part
    else:
        values = values[rows]
    return replace(features, values=cast(np.ndarray, values), examples=features.examples[rows])


def whole_view(features: Features) -> Features:
    """The same features with the view "whole" alone, which is the first; nothing is copied."""
    values = features.values
    first = replace(values, views=1) if isinstance(values, FeaturesOnDisk) else values[:, :1]
    return replace(features, values=first, views=features.views[:1])


def merge_provenances(provenances: list[dict[str, Any]]) -> dict[str, Any]:
    """The provenance of features that stand side by side; of one's alone its own."""
    return provenances[0] if len(provenances) == 1 else {"concatenation": provenances}


def split_provenance(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """The provenances that were `joined`: one for each cache that the features came from."""
    return provenance.get("concatenation", [provenance])
