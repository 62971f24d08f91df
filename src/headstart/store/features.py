"""Features: a frozen backbone's output for every view of every image.

They are read into memory, or left in their file if they exceed a memory limit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from headstart.core.errors import UserError
from headstart.core.hdf5_files import open_hdf5, read_json
from headstart.store.examples import Examples, join_examples, read_examples
from headstart.store.shards import ShardedRows, find_shards, open_rows


@dataclass(frozen=True)
class Features:
    """The features of one split from one backbone.

    values: [N, V, D] float16 or float32. views: V names (`store.views`). provenance: plain JSON
    that determines the values (architecture, digest of the weights, preprocessing).
    """

    values: np.ndarray
    views: list[str]
    examples: Examples
    provenance: dict[str, Any]

    @property
    def width(self) -> int:
        """D, the number of features of a view."""
        return self.values.shape[2]


@dataclass(frozen=True)
class FeaturesOnDisk:
    """A substitute for `Features.values` that reads slices of rows from the files on demand.

    Supports `values[start:stop]`, `shape` and `dtype`.
    stored: [N, V, D]. views: number of views used, from the first. memory_limit: bytes of features
    that may be held at a time. rows: [M] positions of the images used, ascending; None for all.
    """

    stored: ShardedRows
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
    """Opens the features at `path`; their values are `FeaturesOnDisk` beyond `memory_limit` bytes.

    Of several shards the rows come one after another, in the order of the shards' numbers.

    Raises:
        UserError: a file is missing, was not written by `extract`, or doesn't fit the others.
    """
    examples, described = [], None
    for shard in find_shards(path):
        with open_hdf5(shard) as file:
            own = read_json(file, "views"), read_json(file, "provenance")
            if described not in (None, own):
                raise UserError(
                    f"{shard} was extracted differently from the others; run `dvc repro`"
                )
            described = own
            examples.append(read_examples(file))
    assert described is not None
    views, provenance = described
    with open_rows(path, "features") as stored:
        if memory_limit is None or stored.nbytes <= memory_limit:
            values = stored[:]
        else:
            values = FeaturesOnDisk(stored, stored.shape[1], memory_limit)
        yield Features(cast(np.ndarray, values), views, join_examples(examples), provenance)


def load_features(path: Path) -> Features:
    """Reads the features at `path` into memory; raises what `open_features` raises."""
    with open_features(path) as features:
        return features


def select_images(features: Features, rows: np.ndarray) -> Features:
    """Returns the features of the images at `rows`, in memory if they fit the limit.

    Returns `features` unchanged if `rows` selects every image.
    rows: [M] positions, ascending.
    """
    if len(rows) == len(features.examples):
        return features
    values = features.values
    if isinstance(values, FeaturesOnDisk):
        subset = replace(values, rows=rows)
        fits = np.prod(subset.shape) * subset.dtype.itemsize <= values.memory_limit
        values = subset[:] if fits else subset
    else:
        values = values[rows]
    return replace(features, values=cast(np.ndarray, values), examples=features.examples[rows])


def whole_view(features: Features) -> Features:
    """Returns the features of the view "whole", which is the first, without copying."""
    values = features.values
    whole = replace(values, views=1) if isinstance(values, FeaturesOnDisk) else values[:, :1]
    return replace(features, values=whole, views=features.views[:1])


def merge_provenances(provenances: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the provenance of concatenated features; a single one stays as it is."""
    return provenances[0] if len(provenances) == 1 else {"concatenation": provenances}


def count_networks(provenance: dict[str, Any]) -> int:
    """Returns the number of networks that an image passes through; one gives several layers."""
    networks = []
    for own in split_provenance(provenance):
        network = {key: value for key, value in own.items() if key != "layer"}
        if network not in networks:
            networks.append(network)
    return len(networks)


def split_provenance(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the provenances that `merge_provenances` merged, one per backbone and layer."""
    return provenance.get("concatenation", [provenance])
