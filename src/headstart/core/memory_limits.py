"""Checks before a step starts that the memory it needs is there.

Estimates are lower bounds: a step that they refuse could not have run.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from headstart.core.errors import UserError

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files with a Linux container's memory limit: of cgroup v2, of cgroup v1."""


def machine_memory() -> int:
    """Returns the bytes of memory of the machine, or of the container if its limit is lower."""
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # no such file, or `max`: no limit
            available = min(available, int(Path(limit).read_text()))
    return available


def require_memory(what: str, needed: float, available: float) -> None:
    """Raises UserError if `needed` bytes exceed `available` bytes.

    what: the start of the message, which begins with the key in params.yaml.
    """
    if needed > available:
        raise UserError(
            f"{what} would take at least {needed / 1e9:,.1f} GB of memory, and there are "
            f"{available / 1e9:,.1f} GB; lower it"
        )


def head_training_memory(models: int, widths: Sequence[int], batch: int, copies: int = 0) -> int:
    """Returns the bytes that training several heads at once needs beside the features: weights,
    gradients, Adam's two moments, and the layers' outputs for a batch.

    models: number of heads. widths: of the features (D), the hidden layers and the logits (C).
    batch: number of rows. copies: number of copies of a head's weights that are kept.
    """
    weights = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(widths))
    return 4 * (models * (4 * weights + batch * sum(widths[1:])) + copies * weights)
