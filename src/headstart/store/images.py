"""Reading of images.h5: square images of one size with their digests, splits and boxes."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from headstart.core.hdf5_files import get_dataset, open_hdf5, read_json
from headstart.store.examples import SPLITS, Examples, Split, join_examples, read_examples
from headstart.store.shards import ShardedRows, find_shards, open_rows


@dataclass(frozen=True)
class Images:
    """An open images.h5, or one of its shards.

    pixels: [N, S, S, 3] uint8, read from disk when sliced. digests: [N, 32] uint8, SHA-256 of each
    image's pixels. splits: [N] names. boxes: [N, K, 4] float32, the left, upper, right and lower
    edges of each image's boxes in stored px, NaN behind its last one. dataset_splits: the splits
    that the dataset has, of which a shard may lack some; None if they are those of `splits`.
    """

    pixels: ShardedRows | h5py.Dataset
    digests: np.ndarray
    splits: np.ndarray
    boxes: np.ndarray
    examples: Examples
    dataset_splits: list[Split] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def rows(self, split: Split) -> np.ndarray:
        """Returns the positions of a split's images: [M] int64, ascending."""
        return np.flatnonzero(self.splits == split)

    @property
    def existing_splits(self) -> list[Split]:
        """The splits that the dataset has, in the order of `SPLITS`."""
        return [s for s in SPLITS if s in (self.dataset_splits or self.splits)]


@contextmanager
def open_images(path: Path) -> Iterator[Images]:
    """Opens the images at `path`, of all shards or of the one that it is, until the block ends.

    Raises:
        UserError: the file is missing or was not written by `resize`.
    """
    examples, digests, splits, boxes, dataset_splits = [], [], [], [], None
    with open_rows(path, "pixels") as pixels:
        for shard in find_shards(path):
            with open_hdf5(shard) as file:
                examples.append(read_examples(file))
                digests.append(get_dataset(file, "digest")[:])
                splits.append(get_dataset(file, "split")[:].astype(str))
                boxes.append(get_dataset(file, "box")[:].reshape(len(examples[-1]), -1, 4))
                if "splits" in file:
                    dataset_splits = read_json(file, "splits")
        yield Images(
            pixels=pixels,
            digests=np.concatenate(digests),
            splits=np.concatenate(splits),
            boxes=np.concatenate(boxes),
            examples=join_examples(examples),
            dataset_splits=dataset_splits,
        )


class SplitContent(NamedTuple):
    """What a shard holds of a split. images: their number. digest: hexadecimal SHA-256 of their
    pixels' digests, ids and labels and of the dataset's classes."""

    images: int
    digest: str


Contents = dict[Split, SplitContent]
"""By split, of all splits of the dataset."""


@dataclass(frozen=True)
class ImageShard:
    """The images of a shard, which may stay closed. contents: known without reading the rows."""

    open: Callable[[], AbstractContextManager[Images]]
    contents: Contents

    @classmethod
    def in_memory(cls, images: Images) -> "ImageShard":
        """Returns a shard of open images."""
        contents = describe_contents(
            images.examples, images.splits, images.digests, images.existing_splits
        )
        return cls(lambda: nullcontext(images), contents)


def describe_contents(
    examples: Examples, splits: np.ndarray, digests: np.ndarray, dataset_splits: Sequence[Split]
) -> Contents:
    """Returns what a shard holds of each of the dataset's splits; fields as in `Images`."""
    classes = [[label.id, label.name] for label in examples.classes]
    contents = {}
    for split in dataset_splits:
        rows = np.flatnonzero(splits == split)
        own = examples[rows]
        digest = sha256(json.dumps([classes, own.ids]).encode())
        digest.update(own.labels.tobytes())
        digest.update(digests[rows].tobytes())
        contents[split] = SplitContent(len(rows), digest.hexdigest())
    return contents


def image_shards(path: Path) -> list[ImageShard]:
    """Returns the shards of the images at `path`; opens those alone that don't say what they hold.

    Raises:
        UserError: a file is missing or was not written by `resize`.
    """
    shards = []
    for shard in find_shards(path):
        opener = partial(open_images, shard)
        with open_hdf5(shard) as file:
            stored = read_json(file, "contents") if "contents" in file else None
        if stored is None:
            with opener() as images:
                shards.append(replace(ImageShard.in_memory(images), open=opener))
        else:
            contents = {split: SplitContent(*content) for split, content in stored.items()}
            shards.append(ImageShard(opener, contents))
    return shards


def load_file_sizes(path: Path) -> np.ndarray:
    """Returns the width and height of the images' files before they were resized, px: [N, 2] int64.

    Raises:
        UserError: see `open_images`.
    """
    with open_rows(path, "size") as sizes:
        return sizes[:]
