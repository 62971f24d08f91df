"""Kills extractions at random moments, starts them again, and compares the bytes that they write.

    uv run python -m scripts.kill_runs --kills 900 --launchers process shares
    uv run python -m scripts.kill_runs --kills 30 --launchers torchrun ray

A small dataset of several shards is extracted with a stand-in for a network, and once without being
disturbed. Then each round starts from nothing: extractions are killed (`kill -9`) after a random
time, one after the other, and each goes on where the one before stopped, until one is let finish.
Its features must have the bytes of the undisturbed ones, and the cache no damaged part.

process: one process. shares: sixteen processes with a share each, in any order, of which some run
twice and one is killed. torchrun: two processes; one of them, or torchrun itself, is killed. ray: two
workers; one of them is killed, and the run must go on, or the driver is.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks.stand_in import StandIn, stand_in, write_shard
from headstart.extraction import row_filling
from headstart.extraction.cache_parts import is_intact
from headstart.extraction.pipeline import extract_features
from headstart.extraction.ray_workers import check_ray, run_shares
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.shares import Share
from headstart.extraction.view_plan import ViewPlan
from headstart.runtime.runtimes import Future
from headstart.store.images import image_shards
from headstart.store.shards import shard_path

IMAGES, SHARDS, WIDTH, BATCH, PART = 150, 3, 16, 8, 16
SHARES = 16
RAY_SECONDS = 4.0
"""Seconds within which a worker of Ray or its driver is killed."""

KILLS_A_ROUND = 5
"""Kills before an extraction is let finish, on average."""


class Slow(StandIn):
    """A stand-in that takes a millisecond a batch, so that a run lasts long enough to be killed."""

    def submit(self, pixels: np.ndarray) -> Future:
        time.sleep(0.001)
        return super().submit(pixels)


def member() -> RowExtractor:
    return stand_in(WIDTH)._replace(runtime=Slow(WIDTH, BATCH))


def extract(folder: Path, share: Share) -> None:
    """Does a share of the extraction whose files lie in `folder`."""
    row_filling.PART_ROWS = PART
    os.environ["HEADSTART_CACHE"] = str(folder / "cache")
    shards = image_shards(folder.parent / "images.h5")
    plan = ViewPlan(ten_crop=False, augmented_views=0)
    extract_features(shards, folder / "features", [member], plan, "float16", share)


def digests(folder: Path) -> dict[str, str]:
    """Returns the digest of each features file."""
    files = sorted(path for path in (folder / "features").rglob("*.h5") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def fork(work: Callable[[], None]) -> int:
    """Runs `work` in a process of its own, whose id is returned; starting Python takes seconds."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
            work()
        status = 0
    finally:
        os._exit(status)


def kill(process: int, after: float) -> bool:
    """Kills a process after so many seconds; returns False if it had finished without an error."""
    time.sleep(after)
    done, status = os.waitpid(process, os.WNOHANG)
    if done:
        assert status == 0, "an extraction failed without being killed"
        return False
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return True


def wait(process: int) -> None:
    assert os.waitpid(process, 0)[1] == 0, "an extraction failed without being killed"


class Process:
    """One process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def killed(self, rng: random.Random, seconds: float) -> bool:
        """Starts and kills an extraction; returns False if it finished before."""
        return kill(fork(partial(extract, self.folder, Share())), rng.uniform(0, seconds))

    def finished(self, rng: random.Random) -> None:
        """Lets an extraction finish."""
        wait(fork(partial(extract, self.folder, Share())))


class Shares(Process):
    """Sixteen processes at once, in any order; three more do the work of some of them once more."""

    def _start(self, rng: random.Random) -> list[int]:
        ranks = [*range(SHARES), *rng.sample(range(SHARES), 3)]
        rng.shuffle(ranks)
        return [fork(partial(extract, self.folder, Share(rank, SHARES))) for rank in ranks]

    def killed(self, rng: random.Random, seconds: float) -> bool:
        *others, last = self._start(rng)
        was_killed = kill(last, rng.uniform(0, seconds / SHARES))  # it has so much of the work
        for process in others:
            wait(process)
        return was_killed

    def finished(self, rng: random.Random) -> None:
        for process in self._start(rng):
            wait(process)
        super().finished(rng)  # the last run, which finds nothing to do


class Torchrun(Process):
    """Two processes that torchrun starts."""

    arguments: tuple[str, ...] = (
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "scripts.kill_runs"),
    )

    def _start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, *self.arguments, "--worker", str(self.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def killed(self, rng: random.Random, seconds: float) -> bool:
        running = self._start()
        assert running.stdout
        workers = [int(running.stdout.readline()) for _ in range(2)]
        chosen = rng.choice([running.pid, *workers])
        time.sleep(rng.uniform(0, seconds))
        if running.poll() is None:
            os.kill(chosen, signal.SIGKILL)
        if chosen == running.pid:
            # Their parent is gone: nobody ends them.
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
        return running.wait() != 0

    def finished(self, rng: random.Random) -> None:
        assert self._start().wait() == 0


class Ray(Process):
    """Two workers of Ray, which do a share for each shard."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        check_ray()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "scripts.kill_runs", "--driver", str(self.folder)],
            stderr=subprocess.DEVNULL,
        )

    def killed(self, rng: random.Random, seconds: float) -> bool:
        driver = self._start()
        while not (workers := _ray_workers(driver.pid)) and driver.poll() is None:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, RAY_SECONDS))
        kills_driver = rng.random() < 0.5
        chosen = driver.pid if kills_driver else rng.choice(_ray_workers(driver.pid) or workers)
        if driver.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(chosen, signal.SIGKILL)
        status = driver.wait()
        # Without a worker the run goes on, to its end.
        assert status == 0 or kills_driver, "a run failed because a worker died"
        return status != 0 or not kills_driver

    def finished(self, rng: random.Random) -> None:
        assert self._start().wait() == 0


def _ray_workers(driver: int) -> list[int]:
    """Returns the ids of the processes below the process `driver` that do shares."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            names[int(folder.name)] = (folder / "cmdline").read_bytes()
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )

    def is_below(process: int) -> bool:
        return process == driver or (process in parents and is_below(parents[process]))

    return [p for p, name in names.items() if name.startswith(b"ray::Worker") and is_below(p)]


def drive(folder: Path) -> None:
    """Extracts on two workers of Ray."""
    shares = [Share(rank, 2 * SHARDS) for rank in range(2 * SHARDS)]
    run_shares(lambda: partial(extract, folder), shares, 2, False, "ray")


LAUNCHERS = {"process": Process, "shares": Shares, "torchrun": Torchrun, "ray": Ray}


def run(launcher: str, kills: int, folder: Path, seed: int) -> str:
    """Kills extractions `kills` times; returns a line of figures.

    Raises:
        AssertionError: bytes differ, or an extraction failed without being killed.
    """
    rng = random.Random(seed)
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    seconds = float("inf")
    for _ in range(3):
        shutil.rmtree(undisturbed, ignore_errors=True)
        began = time.perf_counter()
        wait(fork(partial(extract, undisturbed, Share())))
        seconds = min(seconds, time.perf_counter() - began)
    expected = digests(undisturbed)
    assert len(expected) == 2 * SHARDS
    killed = rounds = 0
    while killed < kills:
        shutil.rmtree(disturbed, ignore_errors=True)
        runs = LAUNCHERS[launcher](disturbed)
        while killed < kills:
            killed += runs.killed(rng, seconds)
            if rng.random() < 1 / KILLS_A_ROUND:
                break
        runs.finished(rng)
        found = digests(disturbed)
        assert found == expected, f"other bytes after {killed} kills of {launcher}, seed {seed}"
        assert all(map(is_intact, disturbed.rglob("*.npy")))
        if launcher in ("process", "shares"):  # their last run knows that it is alone
            assert not list((disturbed / "features").rglob(".*")), "unfinished files are left"
        rounds += 1
        print(f"\r{launcher}: {killed} kills, {rounds} rounds", end="", file=sys.stderr)
    return f"{launcher}: {killed} kills in {rounds} rounds, always the same bytes"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=100, help="of each launcher")
    arguments.add_argument("--launchers", nargs="+", choices=LAUNCHERS, default=["process"])
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--folder", type=Path, help="for what is written; on a fast disk")
    arguments.add_argument("--driver", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if args.driver:
        drive(args.driver)
        return
    if args.worker:
        print(os.getpid(), flush=True)
        extract(args.worker, Share.from_torchrun())
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for shard in range(SHARDS):
            numbers = np.arange(shard, IMAGES, SHARDS)
            write_shard(shard_path(Path(folder) / "images.h5", shard, SHARDS), numbers)
        for launcher in args.launchers:
            print(run(launcher, args.kills, Path(folder), args.seed), flush=True)


if __name__ == "__main__":
    main()
