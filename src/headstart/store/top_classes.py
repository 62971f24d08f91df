"""The likeliest classes of each image of val with their probabilities, as a table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.atomic_files import read_tsv, tsv_writer


@dataclass(frozen=True)
class TopClasses:
    """The K likeliest classes of each of N images, the likeliest first.

    ids: N unique names. labels: N ids of the true classes. classes: [N, K] str, ids. probabilities:
    [N, K] float64, after temperature scaling.
    """

    ids: list[str]
    labels: list[str]
    classes: np.ndarray
    probabilities: np.ndarray


def write_top_classes(path: Path, top: TopClasses) -> None:
    """One row per image: its id, its class, then the likeliest classes with four decimals each."""
    places = range(1, top.classes.shape[1] + 1)
    with tsv_writer(path) as table:
        table.writerow(
            ["id", "class", *(f"{name}_{i}" for i in places for name in ("class", "probability"))]
        )
        rows = zip(top.ids, top.labels, top.classes, top.probabilities, strict=True)
        for id_, label, classes, probabilities in rows:
            pairs = zip(classes, probabilities, strict=True)
            table.writerow([id_, label, *(cell for c, p in pairs for cell in (c, f"{p:.4f}"))])


def load_top_classes(path: Path) -> TopClasses:
    """What `write_top_classes` wrote to `path`, probabilities to four decimals.

    Raises:
        UserError: the file is missing.
    """
    rows = [list(row.values()) for row in read_tsv(path)]
    return TopClasses(
        [row[0] for row in rows],
        [row[1] for row in rows],
        np.array([row[2::2] for row in rows]),
        np.array([row[3::2] for row in rows], np.float64),
    )
