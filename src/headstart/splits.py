"""Which examples are held out: a function of their names, the same on every machine."""

from collections.abc import Iterable
from hashlib import sha256


def shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """`ids` in an order that only `seed` and the names decide; a new name reorders no others."""
    return sorted(ids, key=lambda id_: (sha256(f"{seed}/{id_}".encode()).digest(), id_))


def held_out(ids: Iterable[str], fraction: float, seed: int) -> set[str]:
    """`fraction` of `ids`, rounded; of two or more never none and never all.

    Call it once a class for a stratified slice. One more id moves at most one other between the
    slice and the rest.
    """
    order = shuffled(ids, seed)
    count = min(max(round(fraction * len(order)), 1), len(order) - 1)
    return set(order[: max(count, 0)])
