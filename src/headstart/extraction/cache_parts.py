"""The files of a feature cache: parts, and beside each part an index of its keys.

A part is one .npy file of (key, row) records, named after the digest of its bytes. It is written
under a temporary name, synced and renamed. So a part is complete or absent, and a damaged one is
recognized. Its index, of the same name and with the suffix .keys, is a digest and the keys; where
it is missing or damaged it is made from the part.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np

from headstart.core.errors import UserError

KEY_BYTES = 16
DIGEST_BYTES = 16
KEY_TYPE = np.dtype(f"S{KEY_BYTES}")


def record_type(width: int, dtype: str) -> np.dtype:
    """Returns the dtype of a part's records, whose rows have `width` values of `dtype`."""
    return np.dtype([("key", KEY_TYPE), ("row", dtype, (width,))])


def find_parts(folder: Path) -> list[Path]:
    """Returns the parts in `folder`, in the order of their names."""
    return sorted(path for path in folder.glob("*.npy") if path.is_file())


def write_part(folder: Path, writer: int, records: np.ndarray) -> Path:
    """Writes records [N] of a `record_type` as a new part; returns its path once it is on disk.

    writer: as in `feature_cache.FeatureCache`.

    Raises:
        UserError: the disk is full or the folder can't be written to; earlier parts are kept.
    """
    buffer = BytesIO()
    np.save(buffer, records, allow_pickle=False)
    content = buffer.getbuffer()
    part = folder / f"{_digest(content)}.npy"
    # Processes on several hosts may share the folder, and their process ids.
    unfinished = folder / f".{writer}.{uuid4().hex}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(part)
        _write_index(part, writer, records)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise UserError(
            f"can't write to the cache {folder} ({error.strerror}); what is cached stays; "
            f"make room or set HEADSTART_CACHE to another folder, and run again to go on"
        ) from None
    return part


def read_keys(part: Path, record: np.dtype, writer: int) -> np.ndarray | None:
    """Returns the keys [N] S16 of a part from its index, which is made where there is none.

    record: the `record_type` of the cache. Returns None if the part is gone, or if its index had to
    be made and the part is damaged or has other records.
    """
    try:
        content = _index_path(part).read_bytes()
    except FileNotFoundError:
        content = b""
    keys = content[DIGEST_BYTES:]
    if content and content[:DIGEST_BYTES] == _index_digest(part, record, keys):
        return np.frombuffer(keys, KEY_TYPE)
    if not is_sound(part, record):
        return None
    try:
        records = np.load(part, mmap_mode="r")
        # A cache that can't be written to can be read.
        with suppress(OSError):
            _write_index(part, writer, records)
        return np.array(records["key"])
    except FileNotFoundError:
        return None


def read_rows(part: Path, rows: np.ndarray) -> np.ndarray:
    """Returns the rows at positions [N] of a sound part: [N, width]."""
    return np.load(part, mmap_mode="r")["row"][rows]


def is_sound(part: Path, record: np.dtype) -> bool:
    """Returns whether a part is there, has the digest that it is named after, and has `record`s."""
    try:
        return is_intact(part) and np.load(part, mmap_mode="r").dtype == record
    except FileNotFoundError:
        return False


def is_intact(part: Path) -> bool:
    """Returns whether a part's bytes have the digest that it is named after, whatever they are.

    Raises:
        FileNotFoundError: there is no such part.
    """
    digest = blake2b(digest_size=DIGEST_BYTES)
    with part.open("rb") as file:
        for block in _blocks(file.fileno()):
            digest.update(block)
    return digest.hexdigest() == part.stem


def remove_part(part: Path) -> None:
    """Removes a part and its index."""
    part.unlink(missing_ok=True)
    _index_path(part).unlink(missing_ok=True)


def _index_path(part: Path) -> Path:
    return part.with_suffix(".keys")


def _write_index(part: Path, writer: int, records: np.ndarray) -> None:
    keys = records["key"].tobytes()
    # Not synced: its digest tells whether it is whole.
    unfinished = part.parent / f".{writer}.{uuid4().hex}.tmp"
    unfinished.write_bytes(_index_digest(part, records.dtype, keys) + keys)
    unfinished.replace(_index_path(part))


def _index_digest(part: Path, record: np.dtype, keys: bytes) -> bytes:
    """Returns a digest of an index's keys, of the part that they belong to, and of its records."""
    described = f"{part.stem} {record.descr}".encode()
    return blake2b(described + keys, digest_size=DIGEST_BYTES).digest()


def _digest(content: memoryview) -> str:
    return blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


def _blocks(descriptor: int, size: int = 1 << 22) -> Iterator[bytes]:
    while block := os.read(descriptor, size):
        yield block
