"""Shares of the work as tasks of Ray: its scheduling, retries and resources, here or on a cluster.

Ray (Moritz et al., 2018) is an optional extra: `uv sync --extra ray`.
"""

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, TypeVar

from tqdm import tqdm

from headstart.core.errors import UserError
from headstart.extraction.shares import Share

Result = TypeVar("Result")

RETRIES = 10
"""How often a worker is started again, and a share given to another one, before the run fails."""

SHARES_OF_A_WORKER = 4
"""Shares of a single shard, for each worker."""


def check_ray() -> None:
    """Raises UserError if Ray isn't installed."""
    if find_spec("ray") is None:
        raise UserError("extract.launch: ray isn't installed; run `uv sync --extra ray`")


def divide(share: Share, shards: int, workers: int) -> list[Share]:
    """Returns the shares that `share` is divided into: one for each shard.

    Of a single shard there are several for each worker, so that a slow one holds nobody up.
    """
    world = shards if shards > 1 else SHARES_OF_A_WORKER * workers
    return [Share(rank, world).within(share) for rank in range(world)]


def run_shares(
    start: Callable[[], Callable[[Share], Result]],
    shares: Sequence[Share],
    workers: int,
    uses_gpu: bool,
    label: str,
) -> list[Result]:
    """Returns the results of all shares, computed by a pool of workers.

    A worker that is free takes the next share. One that dies is started again, elsewhere if its
    host is gone, and its share is done again. The cluster is that of RAY_ADDRESS; without it, Ray
    runs on this host until the end.

    start: called once in each worker; returns a function that does a share. workers: their number.
    uses_gpu: whether each needs a GPU; otherwise each takes one of Ray's CPUs. label: of the
    progress bar.

    Raises:
        UserError: a share raised it, or workers died too often.
    """
    import ray
    from ray.exceptions import RayActorError
    from ray.util import ActorPool

    class Worker:
        def __init__(self, start: Callable[[], Callable[[Share], Result]]) -> None:
            self.work = start()

        def run(self, share: Share) -> Result:
            return self.work(share)

    here = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers, "include_dashboard": False}
    ray.init(log_to_driver=False, **here)
    try:
        needed = {"num_gpus": 1} if uses_gpu else {"num_cpus": 1}
        options = {"max_restarts": RETRIES, "max_task_retries": RETRIES, **needed}
        actors = [ray.remote(Worker).options(**options).remote(start) for _ in range(workers)]
        pool: Any = ActorPool(actors)
        done = pool.map_unordered(lambda actor, share: actor.run.remote(share), [*shares])
        return list(tqdm(done, label, len(shares), unit="share", mininterval=1, leave=None))
    except RayActorError as error:
        raise UserError(f"Ray's workers died more than {RETRIES} times: {error}") from None
    except UserError as error:
        # Ray raises it with the worker's traceback as its text.
        raise UserError(str(getattr(error, "cause", error))) from None
    finally:
        ray.shutdown()
