"""A stand-in for a network and for images, to measure what surrounds them: they cost little."""

from hashlib import sha256
from pathlib import Path

import numpy as np

from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.extraction.row_extractor import RowExtractor
from headstart.runtime.runtimes import Future
from headstart.store.examples import ClassLabel, Examples, write_examples
from headstart.store.images import describe_contents

SIDE = 4
"""Of the images, in px."""


class StandIn:
    """A runtime whose features of an image [S, S, 3] are its first pixels, repeated.

    width: of a row, a multiple of 8. batch_size: as in `runtime.runtimes.Runtime`.
    """

    provenance = {"precision": "float32"}  # noqa: RUF012

    def __init__(self, width: int, batch_size: int = 64) -> None:
        self.width, self.batch_size = width, batch_size

    def submit(self, pixels: np.ndarray) -> Future:
        first = pixels.reshape(len(pixels), -1)[:, :8].astype(np.float32)
        rows = np.repeat(first, self.width // 8, axis=1)
        return lambda: rows


def stand_in(width: int, batch_size: int = 64) -> RowExtractor:
    """Returns the stand-in as a member of an extraction."""
    provenance = {"architecture": "stand-in", "width": width}
    return RowExtractor("stand-in", StandIn(width, batch_size), provenance)


def write_shard(path: Path, numbers: np.ndarray, names: np.ndarray | None = None) -> None:
    """Writes images.h5 of the images `numbers`, each made from its number alone.

    names: the numbers in their ids, if they are others.
    """
    # A bijective mixing of the number makes distinct pixels without a generator for each image.
    words = (numbers[:, None].astype(np.uint64) + 1) * np.arange(1, 7, dtype=np.uint64)
    words = (words * np.uint64(0x9E3779B97F4A7C15)) ^ (words >> np.uint64(3))
    pixels = words.view(np.uint8).reshape(len(numbers), SIDE, SIDE, 3)
    digests = [sha256(image.tobytes()).digest() for image in pixels]
    ids = [image_id(number) for number in (numbers if names is None else names)]
    classes = [ClassLabel(str(c), str(c)) for c in range(100)]
    examples = Examples(ids, numbers.astype(np.int64) % 100, classes)
    splits = np.where(numbers % 10 == 0, "val", "train")
    stacked = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
    contents = describe_contents(examples, splits, stacked, ["train", "val"])
    with create_hdf5(path) as file:
        file["pixels"] = pixels
        file["digest"] = stacked
        file["split"] = np.array(splits, "S5")
        file["box"] = np.full((len(numbers), 1, 4), np.nan, np.float32)
        write_examples(file, examples)
        write_json(file, "splits", ["train", "val"])
        write_json(file, "contents", contents)


def image_id(number: int) -> str:
    """Returns the id of the image of that number."""
    return f"train/n{number % 100:08d}/images/n{number % 100:08d}_{number}.JPEG"
