"""The common form of all datasets: classes, records, and the bytes of each record's image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from headstart.store.examples import ClassLabel

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1: the left, upper, right and lower edge in px. Edges lie between pixels: that of a
whole image of 640 x 480 px is 0, 0, 640, 480."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a dataset.

    id: unique and stable, with `/` between its parts. label: index into the dataset's classes, or
    None. boxes: of the class's objects, in the original image with its EXIF orientation applied.
    group: what must stay together in the splits that `prepare` makes (a photographer, a patient),
    or None.
    """

    id: str
    label: int | None
    split: Literal["train", "val", "test"]
    boxes: tuple[Box, ...] = ()
    group: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset as its reader lists it.

    read: returns the bytes of the encoded image of a record's id; thread-safe; raises
    `UnreadableImageError` if they can't be read. ignored: number of files that are not images.
    reads_at_once: number of threads that read images; None for one for each core.
    val_fraction, seed: for a dataset without val, the fraction of each class's training images that
    `prepare` holds out as val, and the seed that chooses them; val_fraction is None otherwise.
    """

    classes: list[ClassLabel]
    records: list[Record]
    read: Callable[[str], bytes]
    ignored: int = 0
    reads_at_once: int | None = None
    val_fraction: float | None = None
    seed: int = 0
