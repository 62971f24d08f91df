"""Features files, assembled from cached rows in the order of the images.

A file says what it was made from, and has a digest of its values. So one that would be the same is
recognized without looking at the cache, and stays as it is.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from headstart.core.errors import UserError
from headstart.core.hdf5_files import create_hdf5, get_dataset, open_hdf5, read_json, write_json
from headstart.extraction.row_caches import RowCaches
from headstart.extraction.view_plan import SplitRequest, ViewPlan
from headstart.store.examples import SPLITS, Examples, Split, write_examples
from headstart.store.images import Contents, Images, SplitContent
from headstart.store.shards import remove_other_shards, shard_path

Requests = Mapping[Split, SplitRequest]

BLOCK_BYTES = 16_000_000
"""Features that are read or assembled at a time."""


@dataclass(frozen=True)
class FeatureFiles:
    """The files `<folder>/<split>.h5` of an extraction, as `store.shards` says.

    shards: number of the dataset's shards. plan: the views of each split. provenance: plain JSON
    that determines the features. dtype: of the features.
    """

    folder: Path
    shards: int
    plan: ViewPlan
    provenance: dict[str, Any]
    dtype: str

    def remove_others(self, splits: Collection[Split], alone: bool) -> None:
        """Removes the files of splits and shards that the dataset hasn't any more.

        splits: of the dataset. alone: as in `remove_other_shards`.
        """
        for split in SPLITS:
            count = self.shards if split in splits else 0
            remove_other_shards(self.folder / f"{split}.h5", count, alone)

    def outdated(self, contents: Contents, shard: int) -> list[Split]:
        """Returns the splits of a shard whose files aren't what `write` would write, or are
        damaged. contents: of the shard."""
        return [
            split
            for split, content in contents.items()
            if not _is_current(self._path(split, shard), self._made_from(split, content))
        ]

    def write(
        self,
        images: Images,
        contents: Contents,
        requests: Requests,
        shard: int,
        caches: Sequence[RowCaches],
    ) -> None:
        """Writes features of a shard, whose rows are all cached, in the order of its images.

        contents: of the shard. caches: of one dtype; their rows are concatenated.
        """
        for split, request in requests.items():
            with create_hdf5(self._path(split, shard)) as file:
                self._write(file, images.examples[request.positions], split, request, caches)
                write_json(file, "made_from", self._made_from(split, contents[split]))

    def _write(
        self,
        file: h5py.File,
        examples: Examples,
        split: Split,
        request: SplitRequest,
        caches: Sequence[RowCaches],
    ) -> None:
        names, width = self.plan.names(split), sum(cache.width for cache in caches)
        shape = (len(request), len(names), width)
        features, digest = file.create_dataset("features", shape, self.dtype), sha256()
        for start, stop in _blocks(features):
            keys = request.keys[start:stop]
            rows = np.hstack([cache.get(keys.ravel()) for cache in caches])
            features[start:stop] = rows.reshape(*keys.shape, width)
            digest.update(rows.data)
        write_examples(file, examples)
        write_json(file, "views", names)
        write_json(file, "provenance", self.provenance)
        write_json(file, "digest", digest.hexdigest())

    def _path(self, split: Split, shard: int) -> Path:
        return shard_path(self.folder / f"{split}.h5", shard, self.shards)

    def _made_from(self, split: Split, content: SplitContent) -> str:
        """Returns a digest of all that determines a file."""
        views = [self.plan.ten_crop, self.plan.augmented_views, split]
        described = [self.provenance, self.dtype, views, content.digest]
        return sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _is_current(path: Path, made_from: str) -> bool:
    if not path.is_file():
        return False
    try:
        with open_hdf5(path) as file:
            if read_json(file, "made_from") != made_from:
                return False
            digest, features = sha256(), get_dataset(file, "features")
            for start, stop in _blocks(features):
                digest.update(features[start:stop])
            return read_json(file, "digest") == digest.hexdigest()
    except UserError:  # it is no such file, or damaged
        return False


def _blocks(features: h5py.Dataset) -> Iterator[tuple[int, int]]:
    """Yields the start and stop of blocks of at most `BLOCK_BYTES`, or of one image."""
    images = len(features)
    step = max(1, BLOCK_BYTES * images // max(features.nbytes, 1))
    for start in range(0, images, step):
        yield start, min(start + step, images)
