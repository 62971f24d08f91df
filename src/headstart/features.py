"""Features: what a frozen backbone says of every view of every image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart import h5
from headstart.h5 import Examples


@dataclass(frozen=True)
class Features:
    """One split through one backbone.

    values: [N, V, D] float16 or float32. views: V names (headstart.views). provenance: where the
    values come from (architecture, digest of the weights, preprocessing), plain JSON.
    """

    values: np.ndarray
    views: list[str]
    examples: Examples
    provenance: dict[str, Any]

    @property
    def width(self) -> int:
        return self.values.shape[2]


def load(path: Path) -> Features:
    """The features at `path`, in memory.

    Raises:
        UserError: the file is missing or was not written by `extract`.
    """
    with h5.open_existing(path) as file:
        return Features(
            values=h5.dataset(file, "features")[:],
            views=h5.read_json(file, "views"),
            examples=h5.read_examples(file),
            provenance=h5.read_json(file, "provenance"),
        )
