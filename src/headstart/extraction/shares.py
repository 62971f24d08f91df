"""Divides the work among processes that need not communicate: shards of the dataset, or rows.

A share is a process that torchrun started, a task of a batch system, or one within the other.
"""

import os
import re
from dataclasses import dataclass

import numpy as np

from headstart.core.errors import UserError
from headstart.core.torchrun import launched_by_torchrun


@dataclass(frozen=True)
class Share:
    """The work of process `rank` of `world` processes."""

    rank: int = 0
    world: int = 1

    def shards(self, count: int) -> range:
        """Returns which of `count` shards it works on: all, if there are fewer than processes."""
        return range(self.rank, count, self.world) if count >= self.world else range(count)

    def of_shard(self, count: int) -> "Share":
        """Returns the share of the rows that it computes of each of its shards."""
        return SINGLE_PROCESS if count >= self.world else self

    def select(self, keys: np.ndarray) -> np.ndarray:
        """Returns those of keys [N] S16 that belong to this process; depends on the keys alone."""
        hashes = np.ascontiguousarray(keys).view(np.uint32).reshape(-1, 4)[:, 0]
        return keys[hashes % self.world == self.rank]

    def within(self, outer: "Share") -> "Share":
        """Returns this share of the work of the share `outer`."""
        return Share(outer.rank * self.world + self.rank, outer.world * self.world)

    @classmethod
    def from_torchrun(cls) -> "Share":
        """Returns this process's share under torchrun; otherwise `SINGLE_PROCESS`."""
        if not launched_by_torchrun():
            return SINGLE_PROCESS
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))

    @classmethod
    def from_batch_system(cls) -> "Share":
        """Returns the share that the environment asks for; `SINGLE_PROCESS` if it asks for none.

        `HEADSTART_SHARD=3/64` is the fourth of 64 shares. Otherwise each task of a Slurm job array
        is a share, unless DVC runs the stage, because DVC takes what is there afterwards for all.

        Raises:
            UserError: HEADSTART_SHARD isn't such a share, or it is set while DVC runs the stage.
        """
        own = os.environ.get("HEADSTART_SHARD")
        if own is not None:
            return cls._parse(own)
        if "SLURM_ARRAY_TASK_ID" not in os.environ or "DVC_STAGE" in os.environ:
            return SINGLE_PROCESS
        task, count, first = (
            int(os.environ.get(f"SLURM_ARRAY_TASK_{name}", default))
            for name, default in (("ID", "0"), ("COUNT", "1"), ("MIN", "0"))
        )
        if not 0 <= task - first < count:
            raise UserError(
                f"the tasks of this Slurm job array aren't numbered one by one (task {task} of "
                f"{count}, the first is {first}); set HEADSTART_SHARD=I/{count}"
            )
        return cls(task - first, count)

    @classmethod
    def _parse(cls, text: str) -> "Share":
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not match or not int(match[1]) < int(match[2]):
            raise UserError(
                f"HEADSTART_SHARD: '{text}' is no share; give its number and how many there are, "
                f"from 0/64 to 63/64"
            )
        share = cls(int(match[1]), int(match[2]))
        if share.world > 1 and "DVC_STAGE" in os.environ:
            raise UserError(
                "HEADSTART_SHARD: DVC would take a share for the whole; run the stage's command "
                "from dvc.yaml itself, and `dvc repro` without HEADSTART_SHARD when all shares are "
                "done"
            )
        return share


SINGLE_PROCESS = Share()
"""All of the work."""
