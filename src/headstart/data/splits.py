"""Choice of held-out examples by hashes of their keys; the same on every machine."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


class Group(NamedTuple):
    """Images that are held out together or not at all.

    name: orders the groups by its hash. sizes: the number of images of each class.
    """

    name: str
    sizes: Mapping[Any, int]


def held_out(keys: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Returns a `fraction` of the distinct `keys`, rounded; of two or more never none and never
    all.

    Call it once per class for a stratified split. Adding a key moves at most one other key into or
    out of the result. If a second set is held out of the remaining keys with the same `seed`,
    adding a key moves at most two others, one at each boundary of the common order.
    """
    groups = [Group(key, {None: 1}) for key in set(keys)]
    return {groups[position].name for position in held_out_groups(groups, fraction, seed)}


def held_out_groups(groups: Sequence[Group], fraction: float, seed: int) -> set[int]:
    """Returns the positions of groups that have, together, near a `fraction` of every class.

    Groups of a single image each give what `held_out` gives, class by class: `wanted_sizes`. Larger
    groups are taken in the same pseudo-random order if that brings the number of images of their
    classes, summed over these, nearer to the wanted one. A class of which nothing was taken then
    gets the group with which that number grows too large by least. No class is ever taken whole.
    """
    order = sorted(range(len(groups)), key=lambda i: _pseudo_random(groups[i].name, seed))
    sizes: Counter[Hashable] = Counter()
    for position in order:
        sizes.update(groups[position].sizes)
    wanted = wanted_sizes(sizes, fraction)
    taken: Counter[Hashable] = Counter()
    chosen: set[int] = set()

    def gain(group: Group) -> int:
        return sum(
            abs(taken[label] - wanted[label]) - abs(taken[label] + size - wanted[label])
            for label, size in group.sizes.items()
        )

    def leaves_some(group: Group) -> bool:
        return all(taken[label] + size < sizes[label] for label, size in group.sizes.items())

    def take(position: int) -> None:
        chosen.add(position)
        taken.update(groups[position].sizes)

    for position in order:
        if gain(groups[position]) > 0 and leaves_some(groups[position]):
            take(position)
    for label in [label for label in sizes if not taken[label]]:
        candidates = [i for i in order if label in groups[i].sizes and leaves_some(groups[i])]
        if not taken[label] and candidates:
            take(max(candidates, key=lambda i: gain(groups[i])))
    return chosen


def wanted_sizes(sizes: Mapping[Hashable, int], fraction: float) -> dict[Hashable, int]:
    """Returns `fraction` of each class's size, rounded; of two or more never none and never all."""
    return {
        label: max(min(max(round(fraction * size), 1), size - 1), 0)
        for label, size in sizes.items()
    }


def connected(links: Sequence[tuple[Hashable, Hashable]]) -> list[int]:
    """Returns a number for each link, the same for links that share nodes, directly or not."""
    if not links:
        return []
    number: dict[Hashable, int] = {}
    ends = np.array([[number.setdefault(node, len(number)) for node in link] for link in links])
    shape = (len(number), len(number))
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape)
    _, component = connected_components(graph, directed=False)
    return component[ends[:, 0]].tolist()


def _pseudo_random(name: str, seed: int) -> tuple[bytes, str]:
    return sha256(f"{seed}/{name}".encode()).digest(), name
