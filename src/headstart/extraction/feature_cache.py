"""The feature cache: computed rows on disk, by keys derived from their inputs.

A cache is a folder of parts (`cache_parts`), to which any number of processes may add at the same
time. Where the dataset consists of several shards, each of them has a folder of its own below the
cache's, so that a process holds the index of the shards alone that it works on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from headstart.core.cache_folders import ensure_dir
from headstart.core.errors import UserError
from headstart.extraction.cache_parts import (
    KEY_BYTES,
    KEY_TYPE,
    find_parts,
    is_sound,
    read_keys,
    read_rows,
    record_type,
    remove_part,
    write_part,
)


def row_key(image_digest: bytes, view_name: str) -> bytes:
    """Returns the key of a row: a 16-byte hash of the digest of the image's pixels and the view."""
    return blake2b(image_digest + view_name.encode(), digest_size=KEY_BYTES).digest()


def writer_lock(folder: Path, writer: int) -> FileLock:
    """Returns the lock that a process holds while it writes parts to a folder as `writer`.

    A process may hold it several times: two backbones of a concatenation may share a layer's cache.
    """
    return FileLock(_lock_path(folder, writer), is_singleton=True)


def _lock_path(folder: Path, writer: int | str) -> Path:
    return folder / f"lock-{writer}"


def remove_temporary_parts(folder: Path) -> None:
    """Removes the temporary files of killed processes; those of running processes stay."""
    for path in folder.glob(".*.*.tmp"):
        with (
            suppress(Timeout),
            FileLock(_lock_path(folder, path.name.split(".")[1])).acquire(timeout=0),
        ):
            path.unlink(missing_ok=True)


@dataclass
class OtherParts:
    """The parts of a cache in the folders of all shards, as they were at one time.

    Those of other shards hold the rows of images that were renamed, and of all images after a
    change of the number of shards. verified: those whose digest was found to be right. searched:
    the keys that were looked for last, [N] S16, sorted. found, part_of, row_of: those of them that
    are in a part, sorted, its number and the row in it.
    """

    parts: Sequence[Path] = ()
    verified: set[Path] = field(default_factory=set)
    searched: np.ndarray = field(default_factory=lambda: np.empty(0, KEY_TYPE))
    found: np.ndarray = field(default_factory=lambda: np.empty(0, KEY_TYPE))
    part_of: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    row_of: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))

    @classmethod
    def find(cls, cache: Path) -> "OtherParts":
        """Finds the parts in the folder `cache` and in those of its shards."""
        folders = [cache, *sorted(path for path in cache.glob("*-of-*") if path.is_dir())]
        return cls([part for folder in folders for part in find_parts(folder)])

    def search(self, keys: np.ndarray, keys_of: Callable[[Path], np.ndarray]) -> None:
        """Looks for keys [N] S16 in all parts, reading the index of each.

        keys_of: returns the keys of a part.
        """
        self.searched = np.unique(keys)
        halves = np.sort(_first_halves(self.searched))  # numbers are compared faster than bytes
        found, part_of, row_of = [self.searched[:0]], [self.part_of[:0]], [self.row_of[:0]]
        for number, part in enumerate(self.parts):
            held = keys_of(part)
            (rows,) = is_in(_first_halves(held), halves).nonzero()
            rows = rows[is_in(held[rows], self.searched)]
            found.append(held[rows])
            part_of.append(np.full(len(rows), number, np.int32))
            row_of.append(rows.astype(np.int32))
        self.found, first = np.unique(np.concatenate(found), return_index=True)
        self.part_of = np.concatenate(part_of)[first]
        self.row_of = np.concatenate(row_of)[first]


def _first_halves(keys: np.ndarray) -> np.ndarray:
    """Returns the first 8 bytes of keys [N] S16 as numbers: [N] uint64."""
    return np.ascontiguousarray(keys).view(np.uint64)[::2]


def is_in(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns which of keys [N] are in sorted `others` [M]: [N] bool."""
    if not len(others):
        return np.zeros(len(keys), bool)
    return others[np.searchsorted(others, keys).clip(max=len(others) - 1)] == keys


class FeatureCache:
    """The cached rows of one backbone with one preprocessing, or a shard of them.

    folder: of the parts; created when the first part is written. width, dtype: of a row. writer:
    a number that no other process writes to the folder with, used in the names of temporary files.
    others: where `borrow` looks. dropped: number of damaged or foreign parts that were removed.
    """

    def __init__(
        self,
        folder: Path,
        width: int,
        dtype: str,
        writer: int = 0,
        others: OtherParts | None = None,
    ) -> None:
        self.folder = folder
        self.writer = writer
        self.dtype = dtype
        self.record = record_type(width, dtype)
        self.others = others or OtherParts()
        self.dropped = 0
        self._forget()
        self.refresh()

    def __len__(self) -> int:
        self._index()
        return len(self._keys)

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Returns which of keys [N] S16 are cached, according to the indices: [N] bool."""
        self._index()
        return is_in(keys, self._keys)

    def search(self, keys: np.ndarray) -> None:
        """Looks for keys [N] S16 in other shards' folders, for a later `borrow`."""
        self.others.search(keys, self._keys_of)

    def borrow(self, keys: np.ndarray) -> None:
        """Adds those of keys [N] S16 that are cached in other shards' folders to the index.

        Keys that weren't among those of the last `search` are looked for now.
        """
        others = self.others
        wanted = np.unique(keys[~self.has(keys)]) if others.parts else keys[:0]
        if not is_in(wanted, others.searched).all():
            self.search(wanted)
        wanted = wanted[is_in(wanted, others.found)]
        position = np.searchsorted(others.found, wanted)
        part_of, row_of = others.part_of[position], others.row_of[position]
        for number in np.unique(part_of):
            in_part = part_of == number
            self._unindexed.append((others.parts[number], wanted[in_part], row_of[in_part]))

    def verify(self, keys: np.ndarray) -> None:
        """Reads the parts with rows of keys [N] S16 that weren't read yet; drops the damaged ones.

        Afterwards `has` tells which rows can be had.
        """
        cached = self.has(keys)
        for number in np.unique(self._part_of[self._positions(keys)[cached]]):
            if not self._is_verified(self._parts[number]):
                self._drop(number)

    def get(self, keys: np.ndarray) -> np.ndarray:
        """Returns the rows [N, width] of keys [N] S16, all of which must be cached.

        Raises:
            UserError: a part has been damaged or removed since the cache was opened.
        """
        assert self.has(keys).all()
        position = self._positions(keys)
        parts, rows = self._part_of[position], self._row_of[position]
        values = np.empty((len(keys), *self.record["row"].shape), self.record["row"].base)
        for number in np.unique(parts):
            in_part, part = parts == number, self._parts[number]
            if not self._is_verified(part):
                self._drop(number)
                raise self._removed()
            try:
                values[in_part] = read_rows(part, rows[in_part])
            except (FileNotFoundError, ValueError):  # ValueError: it was cut short
                raise self._removed() from None
        return values

    def add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Writes keys [N] S16 and rows [N, width] as a new part, complete on disk on return.

        Raises:
            UserError: as `write_part`.
        """
        records = np.empty(len(keys), self.record)
        records["key"], records["row"] = keys, rows
        part = write_part(self.folder, self.writer, records)
        self._known.add(part)
        self._verified.add(part)
        # The keys are sorted at the next lookup: a run adds many parts before it.
        self._unindexed.append((part, records["key"].copy(), np.arange(len(keys))))

    def clear(self) -> None:
        """Removes all rows from the disk and the index, other shards' too."""
        for part in (*self._known, *self.others.parts):
            remove_part(part)
        self.others.parts = ()
        self._forget()

    def refresh(self) -> None:
        """Adds the parts that other processes have written since the last call."""
        for part in find_parts(self.folder):
            if part not in self._known:
                keys = self._keys_of(part)
                if len(keys):
                    self._known.add(part)
                    self._unindexed.append((part, keys, np.arange(len(keys))))

    def _forget(self) -> None:
        self._known: set[Path] = set()  # the folder's own parts
        self._verified: set[Path] = set()  # of these
        self._parts: list[Path] = []
        self._unindexed: list[tuple[Path, np.ndarray, np.ndarray]] = []  # part, keys, their rows
        self._keys = np.empty(0, KEY_TYPE)  # sorted
        self._part_of = np.empty(0, np.int32)
        self._row_of = np.empty(0, np.int32)

    def _keys_of(self, part: Path) -> np.ndarray:
        """Returns the keys of a part, none if it is damaged; then it is removed."""
        keys = read_keys(part, self.record, self.writer)
        if keys is not None:
            return keys
        if part.exists():
            self._remove(part)
        return np.empty(0, KEY_TYPE)

    def _is_verified(self, part: Path) -> bool:
        """Returns whether a part is sound, reading it at the first call alone."""
        verified = self._verified if part in self._known else self.others.verified
        if part not in verified and is_sound(part, self.record):
            verified.add(part)
        return part in verified

    def _removed(self) -> UserError:
        return UserError(
            f"parts of the cache {self.folder} were removed or damaged while they were in use; run "
            f"again to compute their rows again"
        )

    def _remove(self, part: Path) -> None:
        remove_part(part)
        self.dropped += 1

    def _drop(self, number: int) -> None:
        """Removes the part of that number from the disk and the index."""
        self._remove(self._parts[number])
        self._known.discard(self._parts[number])
        kept = self._part_of != number
        self._keys, self._part_of = self._keys[kept], self._part_of[kept]
        self._row_of = self._row_of[kept]

    def _index(self) -> None:
        """Merges the keys of new parts into the sorted keys."""
        if not self._unindexed:
            return
        first = len(self._parts)
        added, self._unindexed = self._unindexed, []
        self._parts += [part for part, _, _ in added]
        keys = np.concatenate([self._keys, *(keys for _, keys, _ in added)])
        part_of = np.repeat(
            np.arange(first, len(self._parts), dtype=np.int32), [len(keys) for _, keys, _ in added]
        )
        part_of = np.concatenate([self._part_of, part_of])
        row_of = np.concatenate([self._row_of, *(rows for _, _, rows in added)], dtype=np.int32)
        self._keys, order = np.unique(keys, return_index=True)
        self._part_of, self._row_of = part_of[order], row_of[order]

    def _positions(self, keys: np.ndarray) -> np.ndarray:
        self._index()
        return np.searchsorted(self._keys, keys).clip(max=max(len(self._keys) - 1, 0))


@contextmanager
def reserve_cache(folder: Path, writer: int = 0) -> Iterator[None]:
    """Lets this process alone write to the parts in `folder` as `writer`.

    The folder is made where there is none, and what killed processes left unfinished is removed.
    Waits while another process writes as `writer`: both would compute what both lack.

    Raises:
        UserError: the folder can't be made.
    """
    ensure_dir(folder)
    remove_temporary_parts(folder)
    with writer_lock(folder, writer):
        yield
