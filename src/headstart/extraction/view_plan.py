"""Plans the rows to extract: every image of every split, with the views of its split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from headstart.extraction.feature_cache import row_key
from headstart.store.examples import SPLITS, Split
from headstart.store.images import Images
from headstart.store.views import TEN_CROP, WHOLE, View, random_view

BLOCK = 256
"""Number of images whose pixels are read, or whose rows are assembled, at a time."""


@dataclass(frozen=True)
class ViewPlan:
    """The views of each split.

    ten_crop: whether images of tune, val and test have ten crops or only the whole view.
    augmented_views: number of random views of each training image, beside the whole view.
    """

    ten_crop: bool
    augmented_views: int

    def views(self, split: str) -> Callable[[bytes], tuple[View, ...]]:
        """Returns a function from an image's digest to the views of that image in `split`."""
        if split == "train":
            indices = range(self.augmented_views)
            return lambda digest: (WHOLE, *(random_view(digest, index) for index in indices))
        return lambda _: TEN_CROP if self.ten_crop else (WHOLE,)

    def names(self, split: str) -> list[str]:
        """Returns the names of a split's views; augmented ones vary by image and have numbers."""
        if split == "train":
            return [WHOLE.name, *(f"augmented_{index}" for index in range(self.augmented_views))]
        return [view.name for view in (TEN_CROP if self.ten_crop else (WHOLE,))]


@dataclass(frozen=True)
class SplitRequest:
    """The rows of one split.

    positions: [N] in the stored images, ascending. digests: [N, 32] uint8, of their pixels.
    views: a function from an image's digest to its V views.
    """

    positions: np.ndarray
    digests: np.ndarray
    views: Callable[[bytes], tuple[View, ...]]

    def rows(self, start: int, stop: int) -> tuple[list[tuple[View, ...]], np.ndarray]:
        """Returns the views [n][V] and the row keys [n, V] S16 of the images from start to stop."""
        digests = [digest.tobytes() for digest in self.digests[start:stop]]
        views = [self.views(digest) for digest in digests]
        keys = [
            [row_key(d, view.name) for view in vs] for d, vs in zip(digests, views, strict=True)
        ]
        return views, np.array(keys, f"S{len(keys[0][0])}")

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yields the start and stop of each block of at most BLOCK images."""
        for start in range(0, len(self.positions), BLOCK):
            yield start, min(start + BLOCK, len(self.positions))


def requests_by_split(images: Images, plan: ViewPlan) -> dict[Split, SplitRequest]:
    """Returns the rows of every split that has images."""
    return {
        split: SplitRequest(rows, images.digests[rows], plan.views(split))
        for split in SPLITS
        if len(rows := images.rows(split))
    }


class WorkQueue:
    """The keys of the rows to compute; each is claimed once, even if several images are equal."""

    def __init__(self, keys: np.ndarray) -> None:
        self.keys = np.unique(keys)
        self.unclaimed = np.ones(len(self.keys), bool)

    def __len__(self) -> int:
        return len(self.keys)

    def claim(self, keys: np.ndarray) -> np.ndarray:
        """Claims the keys that nobody has claimed yet; returns a mask of the claimed ones.

        keys: [n, V] S16. Returns [n, V] bool, which is true once for a key that occurs twice.
        """
        claimed = np.zeros(keys.size, bool)
        if len(self):
            position = np.searchsorted(self.keys, keys.ravel()).clip(max=len(self) - 1)
            (candidates,) = (
                (self.keys[position] == keys.ravel()) & self.unclaimed[position]
            ).nonzero()
            claimed_positions, first = np.unique(position[candidates], return_index=True)
            claimed[candidates[first]] = True
            self.unclaimed[claimed_positions] = False
        return claimed.reshape(keys.shape)
