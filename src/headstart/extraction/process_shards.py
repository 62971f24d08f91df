"""Whose of several processes a row is; they share the work without speaking to each other."""

import os
from dataclasses import dataclass

import numpy as np

from headstart.core.torchrun import launched_by_torchrun


@dataclass(frozen=True)
class Shard:
    """Which part of the missing rows is this process's: `rank` of `world` processes."""

    rank: int = 0
    world: int = 1

    def select(self, keys: np.ndarray) -> np.ndarray:
        """Those of keys [N] S16 that are this process's; the same whoever asks, and when."""
        first = np.ascontiguousarray(keys).view(np.uint32).reshape(-1, 4)[:, 0]
        return keys[first % self.world == self.rank]

    @classmethod
    def from_environment(cls) -> "Shard":
        """This process's, where torchrun started several; else all of it."""
        if not launched_by_torchrun():
            return SINGLE_PROCESS
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


SINGLE_PROCESS = Shard()
"""Of a process that has no others beside it."""
