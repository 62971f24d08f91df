"""Which rows a dataset wants: every image of every split, under the views of that split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from headstart.extraction.feature_cache import row_key
from headstart.store.views import TEN_CROP, WHOLE, View, random_view

BLOCK = 256
"""Images read, and rows assembled, at a time: this bounds the memory."""


@dataclass(frozen=True)
class ViewPlan:
    """Which views are wanted: `augmented_views` of a training image beside the whole one; of all
    others the ten crops, or the whole image alone.
    """

    ten_crop: bool
    augmented_views: int

    def views(self, split: str) -> Callable[[bytes], tuple[View, ...]]:
        """From an image's digest to the views that its split wants."""
        if split == "train":
            extra = range(self.augmented_views)
            return lambda digest: (WHOLE, *(random_view(digest, index) for index in extra))
        return lambda _: TEN_CROP if self.ten_crop else (WHOLE,)

    def names(self, split: str) -> list[str]:
        """The names of a split's views; an augmented one differs from image to image: its index."""
        if split == "train":
            return [WHOLE.name, *(f"augmented_{index}" for index in range(self.augmented_views))]
        return [view.name for view in (TEN_CROP if self.ten_crop else (WHOLE,))]


@dataclass(frozen=True)
class SplitRequest:
    """The rows that one split wants.

    positions: [N] into the stored images, ascending. digests: [N, 32] uint8, of their pixels.
    views: from an image's digest to its V views.
    """

    positions: np.ndarray
    digests: np.ndarray
    views: Callable[[bytes], tuple[View, ...]]

    def rows(self, start: int, stop: int) -> tuple[list[tuple[View, ...]], np.ndarray]:
        """Of images start to stop: their views [n][V], and the addresses [n, V] S16 of the rows."""
        digests = [digest.tobytes() for digest in self.digests[start:stop]]
        views = [self.views(digest) for digest in digests]
        keys = [
            [row_key(d, view.name) for view in vs] for d, vs in zip(digests, views, strict=True)
        ]
        return views, np.array(keys, f"S{len(keys[0][0])}")

    def blocks(self) -> Iterator[tuple[int, int]]:
        for start in range(0, len(self.positions), BLOCK):
            yield start, min(start + BLOCK, len(self.positions))


class WorkQueue:
    """The rows to compute: each is given out once, however often the dataset holds its pixels."""

    def __init__(self, keys: np.ndarray) -> None:
        self.keys = np.unique(keys)
        self.open = np.ones(len(self.keys), bool)

    def __len__(self) -> int:
        return len(self.keys)

    def claim(self, keys: np.ndarray) -> np.ndarray:
        """Which of keys [n, V] are to be computed by who asks: [n, V] bool, true once a row."""
        taken = np.zeros(keys.size, bool)
        if len(self):
            position = np.searchsorted(self.keys, keys.ravel()).clip(max=len(self) - 1)
            (asked,) = ((self.keys[position] == keys.ravel()) & self.open[position]).nonzero()
            given, first = np.unique(position[asked], return_index=True)
            taken[asked[first]] = True
            self.open[given] = False
        return taken.reshape(keys.shape)
