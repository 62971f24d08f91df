"""Blocks of a file that many images are in, each read once where images are read in order."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Block = TypeVar("Block")

HELD = 4
"""Number of blocks in memory."""


class BlockCache(Generic[Key, Block]):
    """The blocks that were used last.

    Several threads may ask for blocks: each is read by the first thread that asks for it, while the
    others wait for that block alone.
    """

    def __init__(self, read: Callable[[Key], Block]) -> None:
        """read: returns the block of a key; what it raises is raised to all that wait for it."""
        self._read = read
        self._lock = Lock()
        self._blocks: OrderedDict[Key, Future[Block]] = OrderedDict()

    def __getitem__(self, key: Key) -> Block:
        with self._lock:
            future = self._blocks.get(key)
            is_new = future is None
            if future is None:
                future = self._blocks[key] = Future()
            self._blocks.move_to_end(key)
            if len(self._blocks) > HELD:
                self._blocks.popitem(last=False)
        if is_new:
            try:
                future.set_result(self._read(key))
            except BaseException as error:
                future.set_exception(error)
        return future.result()
