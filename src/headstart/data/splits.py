"""Choice of held-out examples by hashes of their keys; the same on every machine."""

from collections.abc import Iterable
from hashlib import sha256


def shuffled(keys: Iterable[str], seed: int) -> list[str]:
    """Returns `keys` in a pseudo-random order; adding a key doesn't reorder the others."""
    return sorted(keys, key=lambda key: (sha256(f"{seed}/{key}".encode()).digest(), key))


def held_out(keys: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Returns a `fraction` of the distinct `keys`, rounded; of two or more never none and never
    all.

    Call it once per class for a stratified split. Adding a key moves at most one other key into or
    out of the result. If a second set is held out of the remaining keys with the same `seed`,
    adding a key moves at most two others, one at each boundary of the common order.
    """
    order = shuffled(set(keys), seed)
    count = min(max(round(fraction * len(order)), 1), len(order) - 1)
    return set(order[: max(count, 0)])
