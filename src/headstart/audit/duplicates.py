"""Images that occur twice: with the same pixels, or resized, re-encoded, mirrored or brightened."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from headstart.audit.neighbors import Neighbors, upper_limit

DEVIATIONS = 1.0
"""A pair is a candidate if the Fisher transform of its cosine exceeds the median over all images'
nearest neighbors by so many robust standard deviations."""

SAME_PICTURE = 0.95
"""The least correlation between two thumbnails of one picture."""

SAME_DETAILS = 0.5
"""The least correlation of what is left of them without their local mean: hazy landscapes correlate
by their gradient of light alone. Copies of photographs have 0.9, retouched ones 0.7."""

DETAIL_SIDE = 5
"""Side of the square of the local mean, in px of a thumbnail."""


class Pair(NamedTuple):
    """Two images, by position. similarity: cosine of their features. identical: same pixels."""

    first: int
    second: int
    similarity: float
    identical: bool


class Duplicates(NamedTuple):
    """pairs: sorted by position. threshold: the cosine above which a pair was looked at."""

    pairs: list[Pair]
    threshold: float


def find_duplicates(
    neighbors: Neighbors, thumbnails: np.ndarray, digests: np.ndarray
) -> Duplicates:
    """Returns the pairs of images that show the same picture.

    Candidates are neighbors whose features are unusually similar for this dataset (`DEVIATIONS`).
    Their thumbnails decide: the correlation of their gray values is at least `SAME_PICTURE` and
    that of their details `SAME_DETAILS`, as they are or with one of them mirrored; brightness and
    contrast don't change a correlation. Images with equal digests are pairs in any case.

    thumbnails: [N, S, S] uint8, gray. digests: [N, 32] uint8, of the pixels.
    """
    nearest = np.arctanh(neighbors.similarity[:, 0].clip(-1, 1 - 1e-6))
    threshold = float(np.tanh(upper_limit(nearest, DEVIATIONS)))
    rows, columns = np.nonzero((neighbors.similarity >= threshold) & (neighbors.positions >= 0))
    others = neighbors.positions[rows, columns]
    cosines = dict(
        zip(
            map(tuple, np.sort([rows, others], axis=0).T.tolist()),
            neighbors.similarity[rows, columns].tolist(),
            strict=True,
        )
    )
    identical = _identical_pairs(digests)
    candidates = np.array(sorted(cosines), dtype=np.int64).reshape(-1, 2)
    confirmed = candidates[_show_the_same(thumbnails, candidates)]
    pairs = {(i, j): Pair(i, j, cosines[i, j], False) for i, j in confirmed.tolist()}
    pairs |= {(i, j): Pair(i, j, 1.0, True) for i, j in identical}
    return Duplicates([pairs[key] for key in sorted(pairs)], threshold)


def _identical_pairs(digests: np.ndarray) -> list[tuple[int, int]]:
    """Returns each image with the first one of the same digest."""
    _, first, inverse = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    original = first[inverse.ravel()]
    return [(int(original[i]), int(i)) for i in np.flatnonzero(original != np.arange(len(digests)))]


def _show_the_same(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Returns which of the pairs [P, 2] show the same picture, by their thumbnails: [P] bool."""
    same = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), 4096):
        block = pairs[start : start + 4096]
        first, second = (thumbnails[positions].astype(np.float32) for positions in block.T)
        for other in (second, second[:, :, ::-1]):
            same[start : start + 4096] |= (_correlation(first, other) >= SAME_PICTURE) & (
                _correlation(_details(first), _details(other)) >= SAME_DETAILS
            )
    return same


def _details(thumbnails: np.ndarray) -> np.ndarray:
    """Returns thumbnails [P, S, S] without their local mean."""
    return thumbnails - uniform_filter(thumbnails, DETAIL_SIDE, axes=(1, 2))


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the correlation of each thumbnail of [P, S, S] with another one: [P]."""
    return (_centered(first) * _centered(second)).sum(axis=(1, 2))


def _centered(thumbnails: np.ndarray) -> np.ndarray:
    """Returns thumbnails [P, S, S] with mean 0 and length 1 each."""
    centered = thumbnails - thumbnails.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt((centered**2).sum(axis=(1, 2), keepdims=True))
    return centered / np.maximum(length, 1e-6)


def duplicate_groups(pairs: list[Pair], count: int) -> np.ndarray:
    """Returns a group number for each of `count` images: [N]; the images of a pair share it."""
    ends = np.array([pair[:2] for pair in pairs], dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1]), tuple(ends)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
