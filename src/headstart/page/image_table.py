"""Which images the page holds: a sample of val, the images of the maps, and nearest images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headstart.store.images import Images

SAMPLE_SEED = 0


@dataclass
class ImageTable:
    """The images of the page; the first `val_count` are of val, in the order of the predictions.

    rows: their positions in images.h5. val_positions: of the first `val_count` their positions in
    the predictions. limit: how many others there may be.
    """

    images: Images
    val_positions: np.ndarray
    rows: list[int]
    limit: int
    _places: dict[str, int] = field(default_factory=dict)
    _stored: dict[str, int] = field(default_factory=dict)

    @classmethod
    def sample_val(cls, images: Images, val_ids: Sequence[str], max_images: int) -> "ImageTable":
        """All images of val, or a random sample of `max_images`; others are added afterwards."""
        positions = np.arange(len(val_ids))
        if len(val_ids) > max_images:
            rng = np.random.default_rng(SAMPLE_SEED)
            positions = np.sort(rng.choice(len(val_ids), max_images, replace=False))
        stored = {id_: row for row, id_ in enumerate(images.examples.ids)}
        ids = [val_ids[position] for position in positions.tolist()]
        rows = [stored[id_] for id_ in ids]
        places = {id_: place for place, id_ in enumerate(ids)}
        return cls(images, positions, rows, max_images, places, stored)

    @property
    def val_count(self) -> int:
        return len(self.val_positions)

    def add(self, ids: Sequence[str]) -> np.ndarray:
        """The places of the images `ids` in the table, -1 where it is full: [M] int64.

        An image of val that the sample left out has no place either.
        """
        places = np.full(len(ids), -1)
        for i, id_ in enumerate(ids):
            if id_ not in self._places:
                row = self._stored.get(id_)
                full = len(self.rows) - self.val_count >= self.limit
                if row is None or full or self.images.splits[row] == "val":
                    continue
                self._places[id_] = len(self.rows)
                self.rows.append(row)
            places[i] = self._places[id_]
        return places

    def describe(self, splits: Mapping[str, int]) -> tuple[list[str], np.ndarray, np.ndarray]:
        """The ids, labels [M] and splits [M] of all images; splits: the number of each split."""
        ids = [self.images.examples.ids[row] for row in self.rows]
        codes = np.array([splits[split] for split in self.images.splits[self.rows]])
        return ids, self.images.examples.labels[self.rows], codes
