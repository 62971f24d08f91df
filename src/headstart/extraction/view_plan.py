"""Plans the rows to extract: every image of every split, with the views of its split."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headstart.extraction.cache_parts import KEY_TYPE
from headstart.extraction.feature_cache import row_key
from headstart.store.examples import Split
from headstart.store.images import Images
from headstart.store.views import TEN_CROP, WHOLE, View, random_view

BLOCK = 256
"""Number of images whose pixels are read at a time."""


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
        if split == "train" and self.augmented_views:
            indices = range(self.augmented_views)
            return lambda digest: (WHOLE, *(random_view(digest, index) for index in indices))
        views = TEN_CROP if self.ten_crop and split != "train" else (WHOLE,)
        return lambda _: views

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

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def keys(self) -> np.ndarray:
        """The keys of all rows: [N, V] S16."""
        return self.keys_of(0, len(self))

    def keys_of(self, start: int, stop: int) -> np.ndarray:
        """Returns the keys of the rows of the images from start to stop: [n, V] S16."""
        digests = list(map(np.ndarray.tobytes, self.digests[start:stop]))
        keys = [row_key(digest, view.name) for digest in digests for view in self.views(digest)]
        stacked = np.frombuffer(b"".join(keys), KEY_TYPE)
        return stacked.reshape(len(digests), -1 if keys else 0)

    def views_of(self, row: int) -> tuple[View, ...]:
        """Returns the views of the image in that row."""
        return self.views(self.digests[row].tobytes())

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yields the start and stop of each block of at most BLOCK images."""
        for start in range(0, len(self.positions), BLOCK):
            yield start, min(start + BLOCK, len(self.positions))


def requests_by_split(images: Images, plan: ViewPlan) -> dict[Split, SplitRequest]:
    """Returns the rows of every split that the dataset has."""
    return {
        split: SplitRequest(rows := images.rows(split), images.digests[rows], plan.views(split))
        for split in images.existing_splits
    }


def all_keys(requests: Iterable[SplitRequest]) -> np.ndarray:
    """Returns the keys of all rows of `requests`: [M] S16."""
    return np.concatenate([request.keys.ravel() for request in requests])


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
