"""The caches of one member of an extraction, as one: a cache for each layer of its network.

One pass through a network computes all layers, but each layer's rows have a cache of their own.
Therefore a backbone with one layer reuses rows that were computed for a backbone with several.
"""

import numpy as np

from headstart.extraction.feature_cache import FeatureCache


class RowCaches:
    """Caches whose rows are side by side; most backbones have one.

    caches: of one dtype, in the order of the columns. alongside: how many of the last caches are
    only filled, because other backbones need their rows; they are not among the columns that `get`
    returns. width: of the rows that `get` returns. row_bytes: of the widest cache's rows.
    """

    def __init__(self, caches: list[FeatureCache], alongside: int = 0) -> None:
        self.caches = caches
        self.read = caches[: len(caches) - alongside]
        self.widths = [cache.record["row"].shape[0] for cache in caches]
        self.width = sum(self.widths[: len(self.read)])
        self.dtype = caches[0].dtype
        self.key_dtype = caches[0].record["key"]
        self.row_bytes = max(cache.record.itemsize for cache in caches)
        self.dropped = sum(cache.dropped for cache in caches)
        self.folders = [cache.folder for cache in caches]

    def __len__(self) -> int:
        return max(map(len, self.read))

    def __str__(self) -> str:
        return ", ".join(map(str, self.folders))

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Returns which of keys [N] S16 are in all caches that are read: [N] bool."""
        return np.logical_and.reduce([cache.has(keys) for cache in self.read])

    def get(self, keys: np.ndarray) -> np.ndarray:
        """Returns the rows [N, width] of keys [N] S16; see `FeatureCache.get`."""
        rows = [cache.get(keys) for cache in self.read]
        return rows[0] if len(rows) == 1 else np.hstack(rows)

    def add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Adds each cache's columns of rows [N, sum of widths]; see `FeatureCache.add`.

        A cache that has some of keys [N] S16 already gets the others only.
        """
        columns = np.split(rows, np.cumsum(self.widths)[:-1], axis=1)
        for cache, own in zip(self.caches, columns, strict=True):
            new = np.ones(len(keys), bool) if len(self.caches) == 1 else ~cache.has(keys)
            if new.any():
                cache.add(keys[new], own[new])

    def clear(self) -> None:
        """Removes all rows of all caches from the disk and the indices."""
        for cache in self.caches:
            cache.clear()

    def refresh(self) -> None:
        """Adds the parts that other processes have written since the last call."""
        for cache in self.caches:
            cache.refresh()
