"""The training images that are most similar to each image of val, as a table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.atomic_files import read_tsv, tsv_writer


@dataclass(frozen=True)
class NearestImages:
    """The K training images nearest to each of N images, the nearest first.

    ids: N unique names. nearest: [N, K] str, names of training images. similarity: [N, K], cosine.
    """

    ids: list[str]
    nearest: np.ndarray
    similarity: np.ndarray


def write_nearest_images(path: Path, images: NearestImages) -> None:
    """One row per image: its id, then the nearest training images with the cosine of each."""
    places = range(1, images.nearest.shape[1] + 1)
    with tsv_writer(path) as table:
        table.writerow(
            ["id", *(f"{name}_{i}" for i in places for name in ("nearest", "similarity"))]
        )
        rows = zip(images.ids, images.nearest, images.similarity, strict=True)
        for id_, nearest, similarity in rows:
            pairs = zip(nearest, similarity, strict=True)
            table.writerow([id_, *(cell for name, s in pairs for cell in (name, f"{s:.4f}"))])


def load_nearest_images(path: Path) -> NearestImages:
    """What `write_nearest_images` wrote to `path`, similarities to four decimals.

    Raises:
        UserError: the file is missing.
    """
    rows = [list(row.values()) for row in read_tsv(path)]
    return NearestImages(
        [row[0] for row in rows],
        np.array([row[1::2] for row in rows]),
        np.array([row[2::2] for row in rows], np.float64),
    )
