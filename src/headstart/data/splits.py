"""Which examples are held out: a function of their names or contents, the same on every machine."""

from collections.abc import Iterable
from hashlib import sha256


def shuffled(keys: Iterable[str], seed: int) -> list[str]:
    """`keys` in an order that only `seed` and they decide; a new one reorders no others."""
    return sorted(keys, key=lambda key: (sha256(f"{seed}/{key}".encode()).digest(), key))


def held_out(keys: Iterable[str], fraction: float, seed: int) -> set[str]:
    """`fraction` of the distinct `keys`, rounded; of two or more never none and never all.

    Call it once a class for a stratified slice. One more key moves at most one other between the
    slice and the rest. Held out of that rest with the same `seed`, a second slice follows the first
    in one order; then one more key moves at most two others, one at each boundary.
    """
    order = shuffled(set(keys), seed)
    count = min(max(round(fraction * len(order)), 1), len(order) - 1)
    return set(order[: max(count, 0)])
