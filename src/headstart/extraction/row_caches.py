"""The caches of one member of an extraction, as one: a cache for each layer of its network.

One pass through a network computes all layers, but each layer's rows have a cache of their own.
Therefore a backbone with one layer reuses rows that were computed for a backbone with several.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.cache_folders import ROWS, cache_name, ensure_dir
from headstart.extraction.feature_cache import FeatureCache, OtherParts, reserve_cache
from headstart.extraction.row_extractor import RowExtractor
from headstart.store.views import CORNER_SIDE

VERSION = 1
"""Increase it when a change here, in `store.views`, `view_rendering` or `runtime` alters the
features;
rows of older versions are then not used."""


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
        self.folders = [cache.folder for cache in caches]

    def __len__(self) -> int:
        return max(map(len, self.read))

    @property
    def dropped(self) -> int:
        """The number of damaged parts that were removed."""
        return sum(cache.dropped for cache in self.caches)

    def __str__(self) -> str:
        return ", ".join(map(str, self.folders))

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Returns which of keys [N] S16 are in all caches that are read: [N] bool."""
        return np.logical_and.reduce([cache.has(keys) for cache in self.read])

    def get(self, keys: np.ndarray) -> np.ndarray:
        """Returns the rows [N, width] of keys [N] S16; see `FeatureCache.get`."""
        rows = [cache.get(keys) for cache in self.read]
        return rows[0] if len(rows) == 1 else np.hstack(rows)

    def search(self, keys: np.ndarray) -> None:
        """Looks for keys [N] S16 in other shards' folders; see `FeatureCache.search`."""
        for cache in self.caches:
            cache.search(keys)

    def borrow(self, keys: np.ndarray) -> None:
        """Looks for keys [N] S16 in other shards' folders; see `FeatureCache.borrow`."""
        for cache in self.caches:
            cache.borrow(keys)

    def verify(self, keys: np.ndarray) -> None:
        """Drops damaged parts with rows of keys [N] S16; see `FeatureCache.verify`."""
        for cache in self.read:
            cache.verify(keys)

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


@dataclass(frozen=True)
class CacheFolders:
    """Where the rows of a member of an extraction are cached.

    folders: one for each layer. widths: of their rows. dtype, alongside: as in `RowCaches`. others:
    for each folder, the parts that were there when this was made.
    """

    folders: list[Path]
    widths: list[int]
    dtype: str
    alongside: int
    others: list[OtherParts]

    @classmethod
    def of(cls, member: RowExtractor, root: Path, dtype: str) -> "CacheFolders":
        """Returns the folders of a member's rows below `root`."""
        folders = [root / ROWS / cache_name(own, dtype) for own in _provenances(member)]
        widths = [layer.width for layer in member.layers] or [member.runtime.width]
        others = [OtherParts.find(folder) for folder in folders]
        return cls(folders, widths, dtype, member.alongside, others)

    @property
    def has_parts(self) -> bool:
        """Whether there were parts of any shard when this was made."""
        return any(others.parts for others in self.others)

    @contextmanager
    def open(
        self,
        shard: str = "",
        writer: int = 0,
        earlier: RowCaches | None = None,
    ) -> Iterator[RowCaches]:
        """Opens a shard's caches; this process alone may write to them as `writer`.

        shard: as `shard_name` returns it. earlier: what an earlier call opened; if its folders are
        the same, only what is new is read.

        Raises:
            UserError: a folder can't be made.
        """
        folders = [folder / shard for folder in self.folders]
        with ExitStack() as locks:
            for folder in self.folders:
                ensure_dir(folder)
            # In one order, so that two processes don't wait for each other.
            for folder in sorted(folders):
                locks.enter_context(reserve_cache(folder, writer))
            if earlier and earlier.folders == folders:
                earlier.refresh()
                yield earlier
                return
            caches = [
                FeatureCache(folder, width, self.dtype, writer, other)
                for folder, width, other in zip(folders, self.widths, self.others, strict=True)
            ]
            yield RowCaches(caches, self.alongside)


def row_provenances(member: RowExtractor) -> list[dict[str, Any]]:
    """Returns plain JSON that determines a member's rows: its backbone, runtime and cropping.

    One for each of the layers that its features consist of, in their order, or one for all.
    """
    return _provenances(member)[: max(1, len(member.layers) - member.alongside)]


def _provenances(member: RowExtractor) -> list[dict[str, Any]]:
    common = {
        **member.provenance,
        **member.runtime.provenance,
        "extraction": {"version": VERSION, "corner_side": CORNER_SIDE},
    }
    return [common | {"layer": layer.name} for layer in member.layers] or [common]
