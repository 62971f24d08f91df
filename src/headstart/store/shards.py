"""Files of a dataset that is cut into shards.

What is stored at a path, as data/images.h5, is one file; or, if the dataset has several shards, a
folder of that name with a file for each of them, as data/images.h5/00003-of-00064.h5. Whoever reads
the path sees the shards as one, in the order of their numbers.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import h5py
import numpy as np

from headstart.core.errors import UserError
from headstart.core.hdf5_files import get_dataset, open_hdf5


def shard_of(id_: str, count: int) -> int:
    """Returns the number of the shard, of `count`, that an example belongs to, by its id alone."""
    return int.from_bytes(sha256(id_.encode()).digest()[:8], "little") % count


def shard_name(number: int, count: int) -> str:
    """Returns the name of a shard, which is empty if it is the only one."""
    return "" if count == 1 else f"{number:05d}-of-{count:05d}"


def shard_path(path: Path, number: int, count: int) -> Path:
    """Returns where a shard of what is stored at `path` lies."""
    return path if count == 1 else path / f"{shard_name(number, count)}{path.suffix}"


def find_shards(path: Path) -> list[Path]:
    """Returns the files of the shards of what is stored at `path`: `path` itself if it isn't cut.

    Raises:
        UserError: a shard is missing.
    """
    if not path.is_dir():
        return [path]
    found = sorted(path.glob(f"[0-9]*-of-*{path.suffix}"))
    counts = {int(match[1]) for file in found if (match := re.search(r"-of-(\d+)\.", file.name))}
    for count in counts or {1}:
        wanted = [shard_path(path, number, count) for number in range(count)]
        if found != wanted:
            missing = next((file for file in wanted if file not in found), path)
            raise UserError(f"{missing} is missing or left over; `dvc repro` makes it")
    return found


def remove_other_shards(path: Path, count: int, alone: bool = True) -> None:
    """Removes what is stored at `path` unless it is one of `count` shards; all if that is 0.

    alone: whether no other process writes there, so that what killed ones left unfinished goes too.
    """
    if alone:
        for unfinished in (*path.parent.glob(f".{path.name}.*.tmp"), *path.glob(".*.tmp")):
            unfinished.unlink(missing_ok=True)
    if path.is_file() and count != 1:
        path.unlink(missing_ok=True)
    elif path.is_dir():
        wanted = {shard_path(path, number, count) for number in range(count)}
        for file in set(path.glob(f"[0-9]*-of-*{path.suffix}")) - wanted:
            file.unlink(missing_ok=True)
        if count < 2:
            with suppress(OSError):  # other files than shards stay
                path.rmdir()


class ShardedRows:
    """The rows of one dataset of HDF5 files, one file after another, as one array on disk.

    Supports `rows[start:stop]`, `rows[position]` and `rows[positions]`, each of which may be
    followed by a slice of the second axis, `len`, `shape`, `dtype` and `nbytes`. One file is open
    at a time.
    """

    def __init__(self, paths: Sequence[Path], key: str) -> None:
        self._paths, self._key = paths, key
        self._opened = ExitStack()
        self._lock = Lock()  # threads may read different files
        self._number: int | None = None
        lengths = [len(self._dataset(number)) for number in range(len(paths))]
        self._starts = np.cumsum([0, *lengths])
        last = self._dataset(len(paths) - 1)
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *last.shape[1:])
        self.dtype: np.dtype = last.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, index: Any) -> np.ndarray:
        rows, rest = index if isinstance(index, tuple) else (index, slice(None))
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                return self[np.arange(start, stop, step), rest]
            return self._span(start, max(start, stop), rest)
        positions = np.asarray(rows)
        if positions.dtype == bool:
            positions = np.flatnonzero(positions)
        if positions.ndim == 0:
            return self[positions[None], rest][0]
        positions = np.where(positions < 0, positions + len(self), positions)
        if len(positions) and not (positions.min() >= 0 and positions.max() < len(self)):
            raise IndexError(f"there are {len(self)} rows")
        order = np.argsort(positions, kind="stable")
        parts = [
            self._gather(number, positions[order][first:last] - self._starts[number], rest)
            for number, first, last in self._ranges(positions[order])
        ]
        gathered = np.concatenate(parts) if parts else self._span(0, 0, rest)
        values = np.empty_like(gathered)
        values[order] = gathered
        return values

    def close(self) -> None:
        """Closes the file that is open."""
        self._opened.close()
        self._number = None

    def _dataset(self, number: int) -> h5py.Dataset:
        if number != self._number:
            self.close()
            file = self._opened.enter_context(open_hdf5(self._paths[number]))
            self._stored, self._number = get_dataset(file, self._key), number
        return self._stored

    def _span(self, start: int, stop: int, rest: slice) -> np.ndarray:
        parts = [
            self._read(number, slice(max(start, a) - a, min(stop, b) - a), rest)
            for number, (a, b) in enumerate(pairwise(self._starts))
            if max(start, a) < min(stop, b)
        ]
        if not parts:
            return self._read(0, slice(0, 0), rest)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _ranges(self, positions: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """Yields the number of each file that holds some of positions [N], which are sorted, and
        the first and last + 1 of these."""
        bounds = np.searchsorted(positions, self._starts)
        for number, (first, last) in enumerate(pairwise(bounds)):
            if first < last:
                yield number, int(first), int(last)

    def _gather(self, number: int, positions: np.ndarray, rest: slice) -> np.ndarray:
        """Returns a file's rows at positions [N], which are sorted."""
        first, last = int(positions[0]), int(positions[-1]) + 1
        # HDF5 reads single rows slowly: where most rows between them are wanted, all are read.
        if last - first <= 2 * len(positions):
            return self._read(number, slice(first, last), rest)[positions - first]
        wanted, inverse = np.unique(positions, return_inverse=True)
        return self._read(number, wanted, rest)[inverse]

    def _read(self, number: int, rows: Any, rest: slice) -> np.ndarray:
        with self._lock:
            return self._dataset(number)[(rows, rest) if len(self.shape) > 1 else rows]


@contextmanager
def open_rows(path: Path, key: str) -> Iterator[ShardedRows]:
    """Opens the dataset `key` of all shards of what is stored at `path`.

    Raises:
        UserError: a file is missing or can't be read.
    """
    rows = ShardedRows(find_shards(path), key)
    try:
        yield rows
    finally:
        rows.close()
