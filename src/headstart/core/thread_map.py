"""Many small independent pieces of work, with a bar."""

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = min(32, os.cpu_count() or 1)
_AHEAD = 4 * _THREADS


def thread_map(
    function: Callable[[Item], Result], items: Sequence[Item], description: str
) -> Generator[Result]:
    """`function` of each item, in order, from a pool of threads; shows a bar after a second.

    Only a few results wait at any time, however long `items` is.
    """
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(total=len(items), desc=description, mininterval=1, delay=1, leave=None) as bar,
    ):
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
                    bar.update()
            while waiting:
                yield waiting.popleft().result()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
