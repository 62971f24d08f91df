"""A slow worker of Ray among fast ones: what it costs the run.

    uv run --extra ray python -m benchmarks.slow_worker

A network that takes 0.2 s a batch and no processor extracts shards on several workers; in the first
of them a batch takes ten times as long. Printed are the shards that each worker did, and the
seconds from the first batch to the last against those of two schedules: shards that go to whoever
is free, and an equal number of shards for each worker. Ray's own start isn't counted.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.stand_in import StandIn, stand_in, write_shard
from headstart.extraction.pipeline import extract_features
from headstart.extraction.ray_workers import divide, run_shares
from headstart.extraction.shares import SINGLE_PROCESS, Share
from headstart.extraction.view_plan import ViewPlan
from headstart.runtime.runtimes import Future
from headstart.store.images import image_shards
from headstart.store.shards import shard_path

SHARDS, BATCHES, BATCH, SECONDS, SLOWNESS = 31, 5, 16, 0.2, 10
Worked = tuple[str, float, float]
"""The worker that did a share, and when it began and ended."""


class Sleeping(StandIn):
    """A stand-in for a network whose batches take `seconds`."""

    seconds = SECONDS

    def submit(self, pixels: np.ndarray) -> Future:
        time.sleep(self.seconds)
        return super().submit(pixels)


def start(folder: Path):
    """Starts a worker; the first one that does is slow."""
    os.environ["HEADSTART_CACHE"] = str(folder / "cache")
    runtime = Sleeping(8, BATCH)
    try:
        (folder / "slow").touch(exist_ok=False)
    except FileExistsError:
        name = f"fast {os.getpid()}"
    else:
        name, runtime.seconds = "slow", SLOWNESS * SECONDS
    member = stand_in(8)._replace(runtime=runtime)
    shards, plan = image_shards(folder / "images.h5"), ViewPlan(False, 0)

    def work(share: Share) -> Worked:
        began = time.time()
        extract_features(shards, folder / "features", [lambda: member], plan, "float16", share)
        return name, began, time.time()

    return work


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--workers", type=int, default=4)
    workers = arguments.parse_args().workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for shard in range(SHARDS):
            numbers = np.arange(BATCHES * BATCH) + shard * BATCHES * BATCH
            write_shard(shard_path(folder / "images.h5", shard, SHARDS), numbers)
        shares = divide(SINGLE_PROCESS, SHARDS, workers)
        done = run_shares(lambda: start(folder), shares, workers, False, "shards")
    counts = Counter(worker for worker, _, _ in done)
    seconds = max(end for *_, end in done) - min(began for _, began, _ in done)
    fast = np.median([end - began for worker, began, end in done if worker != "slow"])
    slow = np.median([end - began for worker, began, end in done if worker == "slow"])
    print(f"shards: {dict(counts.most_common())}; {fast:.2f} s a shard, the slow one {slow:.2f} s")
    ideal = SHARDS / ((workers - 1) / fast + 1 / slow)
    print(
        f"{seconds:.1f} s; {seconds / ideal:.2f} times what would be ideal; an equal number of "
        f"shards for each worker would take {SHARDS / workers * slow / seconds:.1f} times as long"
    )


if __name__ == "__main__":
    main()
