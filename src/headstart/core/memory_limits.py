"""What a step is about to ask of the memory, compared with what there is before it is asked.

Estimates are lower bounds: what they forbid could not have run.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from headstart.core.errors import UserError

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much a container may take, in its second and in its first way."""


def machine_memory() -> int:
    """Bytes of memory that the machine has, or the container where that may take less."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in LIMITS:
        with suppress(OSError, ValueError):  # no such file, or `max`: no limit
            found = min(found, int(Path(limit).read_text()))
    return found


def require_memory(what: str, need: float, has: float) -> None:
    """Raises UserError where `need` bytes are more than `has`. what: begins with the params key."""
    if need > has:
        raise UserError(
            f"{what} would take at least {need / 1e9:,.1f} GB of memory, and there are "
            f"{has / 1e9:,.1f} GB; lower it"
        )


def head_training_memory(models: int, widths: Sequence[int], batch: int) -> int:
    """Bytes that training so many heads at once takes beside the features: their weights, the
    gradients, Adam's two moments, and what the layers say of a batch.

    widths: D of the features, those of the hidden layers, C.
    """
    weights = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(widths))
    return 4 * models * (4 * weights + batch * sum(widths[1:]))
