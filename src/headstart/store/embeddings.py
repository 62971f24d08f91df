"""Images as points in the plane, as a table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.atomic_files import read_tsv, tsv_writer
from headstart.store.examples import ClassLabel


@dataclass(frozen=True)
class Embedding:
    """Images in the plane.

    ids: N unique names. labels: the class of each image. points: [N, 2].
    """

    ids: list[str]
    labels: list[ClassLabel]
    points: np.ndarray


def write_embedding(path: Path, embedding: Embedding) -> None:
    """One row per image: its id, its class's id and name, and its coordinates."""
    with tsv_writer(path) as table:
        table.writerow(["id", "class", "name", "x", "y"])
        rows = zip(embedding.ids, embedding.labels, embedding.points, strict=True)
        for id_, label, point in rows:
            table.writerow([id_, label.id, label.name, *(f"{value:.6g}" for value in point)])


def load_embedding(path: Path) -> Embedding:
    """What `write_embedding` wrote to `path`, coordinates to six digits.

    Raises:
        UserError: the file is missing.
    """
    rows = read_tsv(path)
    return Embedding(
        [row["id"] for row in rows],
        [ClassLabel(row["class"], row["name"]) for row in rows],
        np.array([[float(row["x"]), float(row["y"])] for row in rows]).reshape(-1, 2),
    )
