"""HDF5 files that are whole or absent, and the columns that all of them share.

Every file carries its own examples (ids, labels, classes), so that none needs another to be read.
The same content always gives the same bytes: no timestamps, no machine names.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from headstart.errors import UserError
from headstart.files import replacing

UNLABELLED = -1


@dataclass(frozen=True)
class ClassLabel:
    """One class: `id` as the dataset writes it (a wnid, a folder), `name` as people read it."""

    id: str
    name: str


@dataclass(frozen=True)
class Examples:
    """Who the rows of a file are.

    ids: N unique names. labels: [N] int64, index into `classes` or `UNLABELLED`.
    """

    ids: list[str]
    labels: np.ndarray
    classes: list[ClassLabel]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: np.ndarray) -> "Examples":
        """The examples at `rows`: [M] integer positions or [N] bool."""
        positions = np.arange(len(self))[rows]
        return Examples([self.ids[i] for i in positions], self.labels[rows], self.classes)

    @property
    def labelled(self) -> bool:
        return bool((self.labels != UNLABELLED).all())


@contextmanager
def create(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file that appears at `path` only once it is complete and on disk.

    Raises:
        UserError: the disk is full or the folder can't be written to.
    """
    with replacing(path) as unfinished:
        file = h5py.File(unfinished, "w")
        try:
            yield file
        except BaseException:
            # What stopped the body is the reason, not that what it left can't be written either.
            with suppress(OSError, RuntimeError):
                file.close()
            raise
        try:
            file.close()
        except RuntimeError as error:  # h5py's for what it can't write out at the end
            raise OSError(errno.EIO, str(error)) from None


@contextmanager
def open_existing(path: Path) -> Iterator[h5py.File]:
    """`path` opened for reading.

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


def write_examples(file: h5py.File, examples: Examples) -> None:
    assert len(examples.ids) == len(examples.labels)
    file.create_dataset("id", data=examples.ids, dtype=h5py.string_dtype())
    file.create_dataset("label", data=examples.labels.astype(np.int64))
    write_json(file, "classes", [[label.id, label.name] for label in examples.classes])


def read_examples(file: h5py.File) -> Examples:
    return Examples(
        ids=[value.decode() for value in dataset(file, "id")[:]],
        labels=dataset(file, "label")[:],
        classes=[ClassLabel(*pair) for pair in read_json(file, "classes")],
    )


def write_json(file: h5py.File, key: str, value: Any) -> None:
    """A small structured value, as a dataset: attributes end at 64 KiB."""
    file.create_dataset(key, data=json.dumps(value, sort_keys=True, ensure_ascii=False))


def read_json(file: h5py.File, key: str) -> Any:
    return json.loads(dataset(file, key)[()])


def dataset(file: h5py.File, key: str) -> h5py.Dataset:
    """The dataset `key` of `file`.

    Raises:
        UserError: there is none, so the file was written by something else.
    """
    found = file.get(key)
    if not isinstance(found, h5py.Dataset):
        raise UserError(f"{file.filename} has no '{key}'; delete it and run `dvc repro`")
    return found
