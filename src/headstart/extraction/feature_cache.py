"""The row cache: features that were ever computed, addressed by what they were computed from.

A cache is a folder of parts. A part is one .npy file of (key, row) records, named after the digest
of its own bytes, written to a temporary name, synced and renamed; so a part is whole or it is not
there, any number of processes may add parts at once, and a part that rotted is found and dropped.
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
    """The address of one row: 16 bytes over the image's pixels (their digest) and the view."""
    return blake2b(image_digest + view_name.encode(), digest_size=KEY_BYTES).digest()


def writer_lock(folder: Path, writer: int) -> FileLock:
    """What a process holds while it writes parts as `writer`: one at a time, in a cache."""
    return FileLock(folder / f"lock-{writer}")


def remove_temporary_parts(folder: Path) -> None:
    """Removes what killed processes were writing to a cache; what a living one writes stays."""
    for path in folder.glob(".*.*.tmp"):
        with (
            suppress(Timeout),
            writer_lock(folder, int(path.name.split(".")[1])).acquire(timeout=0),
        ):
            path.unlink(missing_ok=True)


class FeatureCache:
    """The rows of one backbone under one preprocessing.

    folder: where its parts lie; made when the first part is written. width, dtype: of a row.
    writer: whose unfinished parts are whose, where several processes write at once.
    dropped: how many unreadable or foreign parts were found and removed when it was opened.
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
        """Which of keys [N] S16 are cached: [N] bool."""
        return self._keys[self._positions(keys)] == keys if len(self) else np.zeros(len(keys), bool)

    def get(self, keys: np.ndarray) -> np.ndarray:
        """The rows [N, width] of keys [N] S16, all of which must be cached.

        Raises:
            UserError: somebody removed a part since it was found.
        """
        assert self.has(keys).all()
        position = self._positions(keys)
        parts, rows = self._part_of[position], self._row_of[position]
        values = np.empty((len(keys), *self.record["row"].shape), self.record["row"].base)
        for part in np.unique(parts):
            here = parts == part
            try:
                values[here] = np.load(self._parts[part], mmap_mode="r")["row"][rows[here]]
            except FileNotFoundError:
                raise self._removed() from None
        return values

    def add(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Writes a part of keys [N] S16 and rows [N, width]; they are cached once this returns.

        Raises:
            UserError: the disk is full or the folder can't be written to; earlier parts stay.
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
        # Sorting all keys waits until somebody asks: a run adds many parts before it does.
        self._unindexed.append(path)

    def clear(self) -> None:
        """Forgets and removes every row."""
        for part in (*self._parts, *self._unindexed):
            part.unlink(missing_ok=True)
        self._forget()

    def refresh(self) -> None:
        """Takes in the parts that other processes have added since."""
        known = {*self._parts, *self._unindexed}
        found = (path for path in self.folder.glob("*.npy") if path.is_file())
        new = sorted(path for path in found if path not in known)
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
            f"parts of the cache {self.folder} were removed while they were in use; run again: "
            f"what is gone is computed again"
        )

    def _index(self) -> None:
        """Takes the parts that came since into the sorted keys."""
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
