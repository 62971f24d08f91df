"""HDF5 files: atomic writing, reading, and small JSON values in them.

The same content always gives the same bytes: no timestamps, no machine names.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

from headstart.core.atomic_files import atomic_path
from headstart.core.errors import UserError


@contextmanager
def create_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yields a new HDF5 file that appears at `path` once it is complete and on disk.

    Raises:
        UserError: the disk is full or the folder can't be written to.
    """
    with atomic_path(path) as unfinished:
        file = h5py.File(unfinished, "w")
        try:
            yield file
        except BaseException:
            # The body's exception is the one to report, not a further one from closing the file.
            with suppress(OSError, RuntimeError):
                file.close()
            raise
        try:
            file.close()
        except RuntimeError as error:  # h5py's own, if it can't flush its buffers
            raise OSError(errno.EIO, str(error)) from None


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Opens the HDF5 file at `path` for reading.

    Raises:
        UserError: the file is missing, or is not a readable HDF5 file.
    """
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro` makes it") from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error}); delete it and run `dvc repro`") from None
    with file:
        yield file


def write_json(file: h5py.File, key: str, value: Any) -> None:
    """Writes a small structured value as a dataset, because attributes are limited to 64 KiB."""
    file.create_dataset(key, data=json.dumps(value, sort_keys=True, ensure_ascii=False))


def read_json(file: h5py.File, key: str) -> Any:
    """Reads a value that `write_json` wrote; raises what `get_dataset` raises."""
    return json.loads(get_dataset(file, key)[()])


def get_dataset(file: h5py.File, key: str) -> h5py.Dataset:
    """Returns the dataset `key` of `file`.

    Raises:
        UserError: there is none, so another program wrote the file.
    """
    dataset = file.get(key)
    if not isinstance(dataset, h5py.Dataset):
        raise UserError(f"{file.filename} has no '{key}'; delete it and run `dvc repro`")
    return dataset
