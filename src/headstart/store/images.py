"""Reading of images.h5: square images of one size with their digests, splits and boxes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from headstart.core.hdf5_files import get_dataset, open_hdf5
from headstart.store.examples import Examples, Split, read_examples


@dataclass(frozen=True)
class Images:
    """An open images.h5.

    pixels: [N, S, S, 3] uint8, read from disk when sliced. digests: [N, 32] uint8, SHA-256 of each
    image's pixels. splits: [N] names. boxes: [N, K, 4] float32, the left, upper, right and lower
    edges of each image's boxes in stored px, NaN behind its last one.
    """

    pixels: h5py.Dataset
    digests: np.ndarray
    splits: np.ndarray
    boxes: np.ndarray
    examples: Examples

    def __len__(self) -> int:
        return len(self.examples)

    def rows(self, split: Split) -> np.ndarray:
        """Returns the positions of a split's images: [M] int64, ascending."""
        return np.flatnonzero(self.splits == split)


@contextmanager
def open_images(path: Path) -> Iterator[Images]:
    """Opens the images at `path` until the `with` block ends.

    Raises:
        UserError: the file is missing or was not written by `resize`.
    """
    with open_hdf5(path) as file:
        examples = read_examples(file)
        yield Images(
            pixels=get_dataset(file, "pixels"),
            digests=get_dataset(file, "digest")[:],
            splits=get_dataset(file, "split")[:].astype(str),
            boxes=get_dataset(file, "box")[:].reshape(len(examples), -1, 4),
            examples=examples,
        )


def load_file_sizes(path: Path) -> np.ndarray:
    """Returns the width and height of the images' files before they were resized, px: [N, 2] int64.

    Raises:
        UserError: see `open_images`.
    """
    with open_hdf5(path) as file:
        return get_dataset(file, "size")[:]
