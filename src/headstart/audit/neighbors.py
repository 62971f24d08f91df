"""The nearest neighbors of every image among all others, by cosine similarity."""

from typing import NamedTuple

import faiss
import numpy as np

EXACT_UP_TO = 100_000
"""Beyond so many images the search is approximate: comparing all pairs takes hours at 10^6."""

PROBED_CELLS = 16


class Neighbors(NamedTuple):
    """similarity: [N, K] float32 cosines, descending. positions: [N, K] int64, -1 where fewer than
    K others were found. No image is its own neighbor."""

    similarity: np.ndarray
    positions: np.ndarray


def find_neighbors(directions: np.ndarray, k: int) -> Neighbors:
    """Returns the K = min(k, N - 1) nearest others of each row of directions [N, D] float32.

    The rows have length 1. Up to `EXACT_UP_TO` rows the result is exact. Beyond, the rows are
    sorted into cells around centers, and each is compared with the rows of the nearest cells alone
    (faiss, IndexIVFFlat); memory stays proportional to N.
    """
    count, width = directions.shape
    k = min(k, count - 1)
    if count <= EXACT_UP_TO:
        similarity, positions = faiss.knn(
            directions, directions, k + 1, metric=faiss.METRIC_INNER_PRODUCT
        )
    else:
        cells = int(4 * np.sqrt(count))
        index = faiss.index_factory(width, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = 0  # pyright: ignore[reportAttributeAccessIssue]
        index.train(directions[:: max(1, count // (40 * cells))])
        index.add(directions)
        index.nprobe = PROBED_CELLS  # pyright: ignore[reportAttributeAccessIssue]
        similarity, positions = index.search(directions, k + 1)
    return _without_self(similarity, positions)


def _without_self(similarity: np.ndarray, positions: np.ndarray) -> Neighbors:
    """Removes each row's own position from its K + 1 neighbors; else the last of them."""
    own = positions == np.arange(len(positions))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(positions), positions.shape[1] - 1
    return Neighbors(similarity[~own].reshape(shape), positions[~own].reshape(shape))


def upper_limit(values: np.ndarray, deviations: float) -> float:
    """Returns the median of values [N] plus so many robust standard deviations.

    A robust standard deviation is 1.4826 times the median absolute deviation, which equals the
    standard deviation of a normal distribution and ignores outliers.
    """
    median = np.median(values)
    return float(median + deviations * 1.4826 * np.median(np.abs(values - median)))
