"""An order of the classes in which those that are confused are neighbors."""

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

MOST_CLASSES = 2000
"""More classes keep the order of the dataset: a matrix of them can't be read in any order."""


def order_classes(
    labels: np.ndarray, top: np.ndarray, probabilities: np.ndarray, c: int
) -> list[int]:
    """The positions of all `c` classes, ordered by average linkage and optimal leaf ordering.

    Two classes are similar if images of one get probability for the other (Bar-Joseph et al., 2001,
    for the order of the leaves).

    labels: [N]. top: [N, K], the likeliest classes of each image. probabilities: [N, K], theirs.
    """
    if not 3 <= c <= MOST_CLASSES:
        return list(range(c))
    given = np.zeros((c, c))
    np.add.at(given, (labels[:, None], top), probabilities)
    n = np.maximum(np.bincount(labels, minlength=c), 1)
    given /= n[:, None]  # the mean probability that images of class i get for class j
    similarity = (given + given.T) / 2
    distance = 1 - np.clip(similarity, 0, 1)
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    tree = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    return leaves_list(tree).tolist()
