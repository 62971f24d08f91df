"""Whose of several processes a row is; they share the work without speaking to each other."""

import os
from dataclasses import dataclass

import numpy as np


def launched() -> bool:
    """Whether torchrun started this process.

    Others than torchrun set ranks too; only under torchrun are all of the processes started.
    torch.distributed.is_torchelastic_launched says the same after a second of importing torch.
    """
    return "TORCHELASTIC_RUN_ID" in os.environ


@dataclass(frozen=True)
class Share:
    """Which part of the missing rows is this process's: `rank` of `world` processes."""

    rank: int = 0
    world: int = 1

    def of(self, keys: np.ndarray) -> np.ndarray:
        """Those of keys [N] S16 that are this process's; the same whoever asks, and when."""
        first = np.ascontiguousarray(keys).view(np.uint32).reshape(-1, 4)[:, 0]
        return keys[first % self.world == self.rank]

    @classmethod
    def here(cls) -> "Share":
        """This process's, where torchrun started several; else all of it."""
        if not launched():
            return ALONE
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


ALONE = Share()
"""Of a process that has no others beside it."""
