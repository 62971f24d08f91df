"""Work in threads: a function mapped over many items, and items prepared ahead of their use."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = min(32, os.cpu_count() or 1)


def thread_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    description: str,
    threads: int | None = None,
) -> Generator[Result]:
    """Yields `function(item)` for each item, in order, computed by a pool of threads.

    A progress bar appears after a second.

    Only a few results are held at any time, however long `items` is.
    description: of the progress bar. threads: their number; by default that of the cores.
    """
    threads = threads or _THREADS
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(items), desc=description, mininterval=1, delay=1, leave=None) as bar,
    ):
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 4 * threads:
                    yield pending.popleft().result()
                    bar.update()
            while pending:
                yield pending.popleft().result()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """Yields the same items; each is prepared in a thread while the one before it is in use."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, items, end)
        while (item := upcoming.result()) is not end:
            upcoming = thread.submit(next, items, end)
            yield item  # pyright: ignore[reportReturnType]
