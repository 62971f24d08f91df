"""What every dataset is: classes, records, and the bytes of each record's image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from headstart.store.examples import ClassLabel

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Record:
    """One image of a dataset.

    id: unique, stable, `/` between its parts. label: index into the classes, None where there is
    none. box: the object's x0, y0, x1, y1 in pixels of the original image.
    """

    id: str
    label: int | None
    split: Literal["train", "val", "test"]
    box: Box | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset as its reader found it.

    read: a record's id to its encoded image; raises `decode.BadImage` where that can't be read, and
    may be called from several threads. ignored: how many files were passed over as no images.
    val_fraction, seed: of a dataset without val, what `prepare` holds out of each class's training
    images for it.
    """

    classes: list[ClassLabel]
    records: list[Record]
    read: Callable[[str], bytes]
    ignored: int = 0
    val_fraction: float | None = None
    seed: int = 0
