"""The examples behind a stored file's rows: their ids, labels, classes and splits.

Every file carries its own examples, so that none needs another file to be read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import h5py
import numpy as np

from headstart.core.errors import UserError
from headstart.core.hdf5_files import get_dataset, read_json, write_json

UNLABELED = -1
"""The label of an example without one."""


@dataclass(frozen=True)
class ClassLabel:
    """A class. id: as the dataset writes it (a WordNet id, a folder). name: as people read it."""

    id: str
    name: str


@dataclass(frozen=True)
class Examples:
    """The examples that the N rows of a file stand for.

    ids: N unique names. labels: [N] int64, index into `classes`, or `UNLABELED`.
    """

    ids: list[str]
    labels: np.ndarray
    classes: list[ClassLabel]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: np.ndarray) -> "Examples":
        """Returns the examples at `rows`: [M] integer positions or an [N] bool mask."""
        positions = np.arange(len(self))[rows]
        return Examples([self.ids[i] for i in positions], self.labels[rows], self.classes)

    @property
    def labeled(self) -> bool:
        """Whether every example has a label."""
        return bool((self.labels != UNLABELED).all())


def write_examples(file: h5py.File, examples: Examples) -> None:
    """Writes the datasets /id [N], /label [N] and /classes (JSON) that all stored files share."""
    assert len(examples.ids) == len(examples.labels)
    file.create_dataset("id", data=examples.ids, dtype=h5py.string_dtype())
    file.create_dataset("label", data=examples.labels.astype(np.int64))
    write_json(file, "classes", [[label.id, label.name] for label in examples.classes])


def read_examples(file: h5py.File) -> Examples:
    """Reads what `write_examples` wrote.

    Raises:
        UserError: a dataset is missing.
    """
    return Examples(
        ids=[value.decode() for value in get_dataset(file, "id")[:]],
        labels=get_dataset(file, "label")[:],
        classes=[ClassLabel(*pair) for pair in read_json(file, "classes")],
    )


def join_examples(shards: Sequence[Examples]) -> Examples:
    """Returns the examples of several shards, one after another.

    Raises:
        UserError: they have other classes, so they are of several datasets.
    """
    classes = shards[0].classes
    if any(shard.classes != classes for shard in shards):
        raise UserError("the shards have different classes; run `dvc repro` to make them again")
    ids = [id_ for shard in shards for id_ in shard.ids]
    return Examples(ids, np.concatenate([shard.labels for shard in shards]), classes)


Split = Literal["train", "tune", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
