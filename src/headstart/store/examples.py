"""The examples that the rows of a stored file stand for: ids, labels, classes, splits."""

from dataclasses import dataclass
from typing import Literal, get_args

import h5py
import numpy as np

from headstart.core.hdf5_files import get_dataset, read_json, write_json

UNLABELED = -1


@dataclass(frozen=True)
class ClassLabel:
    """One class: `id` as the dataset writes it (a wnid, a folder), `name` as people read it."""

    id: str
    name: str


@dataclass(frozen=True)
class Examples:
    """Who the rows of a file are.

    ids: N unique names. labels: [N] int64, index into `classes` or `UNLABELED`.
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
    def labeled(self) -> bool:
        return bool((self.labels != UNLABELED).all())


def write_examples(file: h5py.File, examples: Examples) -> None:
    assert len(examples.ids) == len(examples.labels)
    file.create_dataset("id", data=examples.ids, dtype=h5py.string_dtype())
    file.create_dataset("label", data=examples.labels.astype(np.int64))
    write_json(file, "classes", [[label.id, label.name] for label in examples.classes])


def read_examples(file: h5py.File) -> Examples:
    return Examples(
        ids=[value.decode() for value in get_dataset(file, "id")[:]],
        labels=get_dataset(file, "label")[:],
        classes=[ClassLabel(*pair) for pair in read_json(file, "classes")],
    )


Split = Literal["train", "tune", "val", "test"]


SPLITS: tuple[Split, ...] = get_args(Split)
