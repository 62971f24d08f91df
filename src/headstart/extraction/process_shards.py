"""Assigns each cache row to one process by its hash; processes need not communicate."""

import os
from dataclasses import dataclass

import numpy as np

from headstart.core.torchrun import launched_by_torchrun


@dataclass(frozen=True)
class Shard:
    """The rows that process `rank` of `world` processes computes."""

    rank: int = 0
    world: int = 1

    def select(self, keys: np.ndarray) -> np.ndarray:
        """Returns those of keys [N] S16 that belong to this process; depends on the keys alone."""
        hashes = np.ascontiguousarray(keys).view(np.uint32).reshape(-1, 4)[:, 0]
        return keys[hashes % self.world == self.rank]

    @classmethod
    def from_environment(cls) -> "Shard":
        """Returns this process's shard under torchrun; otherwise `SINGLE_PROCESS`."""
        if not launched_by_torchrun():
            return SINGLE_PROCESS
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


SINGLE_PROCESS = Shard()
"""The shard with all rows."""
