"""The feature cache: computed rows on disk, by keys derived from their inputs.

A cache is a folder of parts. A part is one .npy file of (key, row) records, named after the digest
of its bytes, written under a temporary name, synced and renamed. So a part is complete or absent,
any number of processes may add parts at the same time, and a damaged part is detected and dropped.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout

from headstart.core.cache_folders import ensure_dir
from headstart.core.errors import UserError

KEY_BYTES = 16


def row_key(image_digest: bytes, view_name: str) -> bytes:
    """Returns the key of a row: a 16-byte hash of the digest of the image's pixels and the view."""
    return blake2b(image_digest + view_name.encode(), digest_size=KEY_BYTES).digest()


def writer_lock(folder: Path, writer: int) -> FileLock:
    """Returns the lock that a process holds while it writes parts to a cache as `writer`.

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


class FeatureCache:
    """The cached rows of one backbone with one preprocessing.

    folder: of the parts; created when the first part is written. width, dtype: of a row. writer:
    process rank, used in the names of temporary files. dropped: number of unreadable or foreign
    parts that were removed.
    """

    def __init__(self, folder: Path, width: int, dtype: str, writer: int = 0) -> None:
        self.folder = folder
        self.writer = writer
        self.dtype = dtype
        self.record = np.dtype([("key", f"S{KEY_BYTES}"), ("row", dtype, (width,))])
        self.dropped = 0
        self._forget()
        self.refresh()

    def __len__(self) -> int:
        self._index()
        return len(self._keys)

    def has(self, keys: np.ndarray) -> np.ndarray:
        """Returns which of keys [N] S16 are cached: [N] bool."""
        return self._keys[self._positions(keys)] == keys if len(self) else np.zeros(len(keys), bool)

    def get(self, keys: np.ndarray) -> np.ndarray:
        """Returns the rows [N, width] of keys [N] S16, all of which must be cached.

        Raises:
            UserError: a part has been removed since the cache was opened.
        """
        assert self.has(keys).all()
        position = self._positions(keys)
        parts, rows = self._part_of[position], self._row_of[position]
        values = np.empty((len(keys), *self.record["row"].shape), self.record["row"].base)
        for part in np.unique(parts):
            in_part = parts == part
            try:
                values[in_part] = np.load(self._parts[part], mmap_mode="r")["row"][rows[in_part]]
            except FileNotFoundError:
                raise self._removed() from None
        return values

    def add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Writes keys [N] S16 and rows [N, width] as a new part, complete on disk on return.

        Raises:
            UserError: the disk is full or the folder can't be written to; earlier parts are kept.
        """
        part = np.empty(len(keys), self.record)
        part["key"], part["row"] = keys, rows
        buffer = BytesIO()
        np.save(buffer, part, allow_pickle=False)
        content = buffer.getbuffer()
        path = self.folder / f"{blake2b(content, digest_size=16).hexdigest()}.npy"
        # Processes on several hosts may share the folder, and their process ids.
        unfinished = self.folder / f".{self.writer}.{uuid4().hex}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            raise UserError(
                f"can't write to the cache {self.folder} ({error.strerror}); what is cached stays; "
                f"make room or set HEADSTART_CACHE to another folder, and run again to go on"
            ) from None
        # The keys are sorted at the next lookup: a run adds many parts before it.
        self._unindexed.append(path)

    def clear(self) -> None:
        """Removes all rows from the disk and the index."""
        for part in (*self._parts, *self._unindexed):
            part.unlink(missing_ok=True)
        self._forget()

    def refresh(self) -> None:
        """Adds the parts that other processes have written since the last call."""
        known = {*self._parts, *self._unindexed}
        paths = (path for path in self.folder.glob("*.npy") if path.is_file())
        new = sorted(path for path in paths if path not in known)
        self._unindexed += [path for path in new if self._is_sound(path)]

    def _forget(self) -> None:
        self._parts: list[Path] = []
        self._unindexed: list[Path] = []
        self._keys = np.empty(0, f"S{KEY_BYTES}")  # sorted
        self._part_of = np.empty(0, np.int32)
        self._row_of = np.empty(0, np.int64)

    def _is_sound(self, path: Path) -> bool:
        try:
            if file_digest(path) == path.stem and np.load(path, mmap_mode="r").dtype == self.record:
                return True
        except FileNotFoundError:
            return False
        path.unlink(missing_ok=True)
        self.dropped += 1
        return False

    def _removed(self) -> UserError:
        return UserError(
            f"parts of the cache {self.folder} were removed while they were in use; run again "
            f"to compute the removed rows again"
        )

    def _index(self) -> None:
        """Merges the keys of new parts into the sorted keys."""
        if not self._unindexed:
            return
        try:
            added = [np.load(path, mmap_mode="r")["key"] for path in self._unindexed]
        except FileNotFoundError:
            raise self._removed() from None
        first = len(self._parts)
        self._parts += self._unindexed
        self._unindexed = []
        keys = np.concatenate([self._keys, *added])
        part_of = np.concatenate(
            [self._part_of, *(np.full(len(k), first + i, np.int32) for i, k in enumerate(added))]
        )
        row_of = np.concatenate([self._row_of, *(np.arange(len(k)) for k in added)])
        self._keys, order = np.unique(keys, return_index=True)
        self._part_of, self._row_of = part_of[order], row_of[order]

    def _positions(self, keys: np.ndarray) -> np.ndarray:
        self._index()
        return np.searchsorted(self._keys, keys).clip(max=max(len(self) - 1, 0))


@contextmanager
def reserve_cache(folder: Path, writer: int = 0) -> Iterator[None]:
    """Lets this process alone write to the cache in `folder` as `writer`.

    The folder is made where there is none, and what killed processes left unfinished is removed.
    Waits while another process writes as `writer`: both would compute what both lack.

    Raises:
        UserError: the folder can't be made.
    """
    ensure_dir(folder)
    remove_temporary_parts(folder)
    with writer_lock(folder, writer):
        yield


def file_digest(path: Path) -> str:
    """The digest of a part's bytes, which is its name without `.npy`."""
    with path.open("rb") as file:
        digest = blake2b(digest_size=16)
        for block in _blocks(file.fileno()):
            digest.update(block)
    return digest.hexdigest()


def _blocks(descriptor: int, size: int = 1 << 22) -> Iterator[bytes]:
    while block := os.read(descriptor, size):
        yield block
